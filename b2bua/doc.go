// Package b2bua is the life of one call.
//
// A call is one goroutine running a straight line: gather the facts under one
// deadline, decide (package routing, pure), greet while digits are collected,
// decide again if any came, act (redirect, refer, bridge or reject), and write
// the record. The caller hanging up, at whatever moment, is not a step of that
// line: it cancels the call's context with a cause, and every step gives up.
//
// Whatever else a call needs (the CRM, employees, prompts, sticky bindings, the
// log) is reached through small interfaces declared here; package sip and
// package media are used as they are.
package b2bua

// Package web is what frontdesk shows over HTTP: health, metrics, a JSON API,
// and a page that says what is there.
//
// The model: a Server answers on one listener that it is given. What it shows
// comes through small interfaces (Calls, Explainer, Reloader, Health, and the
// Tools of the command line); it holds no state but counters. /healthz and
// /readyz answer everybody. All else is guarded: by a bearer token from
// everywhere when one is set, and otherwise by answering loopback alone, under a
// loopback name. Errors are JSON objects, requests are bounded in size and in
// time, and a panic ends one request. What takes long, as reading the whole
// portal, tells how far it is in lines of JSON to clients that accept them.
//
// The Calls of a server are a History: a Ring, which keeps the last records in
// memory, and behind it an Archive, which outlives the process.
package web

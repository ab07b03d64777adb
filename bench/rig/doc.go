// Package rig is what the load programs of bench have in common.
//
// A program under test is a process of its own (Process), watched from outside
// through /proc: its CPU time, its memory. The load comes from this process
// over loopback: SIP as text (sip.go), RTP over one socket for all callers,
// whose packets the kernel stamps with the time of their arrival (rtp.go), so
// that a load generator that is woken late measures right all the same. What
// was measured is a Report: a table for people, JSON for programs.
package rig

// Package call is the vocabulary of frontdesk as types: numbers, extensions,
// what the CRM knows of a caller, outcomes, and the record kept of every call.
//
// It imports nothing of ours and does nothing beyond parsing and formatting,
// so that every other package may speak its words.
package call

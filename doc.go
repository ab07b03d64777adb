// Package frontdesk is the root of the module. It holds the recordings of the
// demo, and is where the tests of the house itself live: the import law, the
// caps on sizes, and the documentation.
//
// The program is in cmd/frontdesk; ARCHITECTURE.md says what each folder owns.
package frontdesk

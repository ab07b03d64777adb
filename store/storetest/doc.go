// Package storetest starts PostgreSQL servers for tests. A server keeps its
// data in a temporary folder, listens on a free port of 127.0.0.1, is not safe
// from power loss, and ends with the test process, however that ends.
package storetest

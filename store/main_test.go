package store_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the process that the tests kill: see crash_test.go.
func TestMain(m *testing.M) {
	if dsn := os.Getenv(childDSN); dsn != "" {
		os.Exit(child(dsn))
	}
	goleak.VerifyTestMain(m)
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestLinkKey: the key stays the same, is its owner's alone, and half a key that
// a full disk left is no reason not to start.
func TestLinkKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := linkKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := linkKey(dir); err != nil || !bytes.Equal(first, again) {
		t.Errorf("another key after a restart, %v", err)
	}
	path := filepath.Join(dir, ".linkkey")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, half := range [][]byte{nil, first[:7]} {
		if err := os.WriteFile(path, half, 0o600); err != nil {
			t.Fatal(err)
		}
		made, err := linkKey(dir)
		if err != nil || len(made) != len(first) || bytes.Equal(made, first) {
			t.Errorf("after half a key: %d bytes, %v", len(made), err)
		}
		if again, err := linkKey(dir); err != nil || !bytes.Equal(made, again) {
			t.Errorf("the new key does not stay, %v", err)
		}
	}
}

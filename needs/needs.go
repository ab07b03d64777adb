// Package needs tells tests whether a program that they talk to is installed.
// On a developer's machine the tests that want a missing one are skipped; where
// the environment says CI=true they fail, since nobody reads what CI skips.
package needs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program is the path of an installed program, of which debian is the package.
// Debian keeps some off the path of ordinary users.
func Program(t testing.TB, name, debian string) string {
	t.Helper()
	for _, file := range []string{name, filepath.Join("/usr/sbin", name), filepath.Join("/sbin", name)} {
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	Missing(t, name+" is not installed: run scripts/tools.sh, or apt-get install "+debian)
	return ""
}

// Missing ends a test that cannot run for the reason given: it is skipped, and
// in CI it fails.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

package config

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// largestConfig is the most that is read of a configuration file.
const largestConfig = 8 << 20

// Load reads the configuration file at path. env looks an environment variable
// up, as os.LookupEnv does. The configuration is never nil; it may be used
// unless the problems hold errors, and its Plan is nil if they do.
func Load(path string, env func(string) (string, bool)) (*Config, Problems) {
	f, err := os.Open(path)
	if err != nil {
		return Defaults(), Problems{{File: path, Message: fmt.Sprintf("cannot be read: %v", reason(err))}}
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, largestConfig+1))
	if err != nil {
		return Defaults(), Problems{{File: path, Message: fmt.Sprintf("cannot be read: %v", reason(err))}}
	}
	if len(text) > largestConfig {
		return Defaults(), Problems{{File: path, Message: fmt.Sprintf("is longer than %d bytes", largestConfig)}}
	}
	return Parse(path, text, env)
}

// Parse reads a configuration from a text; name is what problems call the
// file, and its folder is where relative files are looked for.
func Parse(name string, text []byte, env func(string) (string, bool)) (*Config, Problems) {
	clean := strings.TrimPrefix(string(text), "\ufeff")
	src := newSource(name, clean)
	rep := newReport(src)
	c := Defaults()
	c.Sum = fmt.Sprintf("%x", sha256.Sum256(text))
	root := parse(src, clean, rep)
	if root == nil {
		return c, rep.done()
	}
	rep.root = root
	dir := filepath.Dir(name)
	(&expander{report: rep, env: env, dir: dir}).expand(root, "")
	if err := validate(root, rep); err != nil {
		rep.fail(position{}, "", err.Error(), "")
		return c, rep.done()
	}
	(&decoder{rep}).value(root, "", reflect.ValueOf(c).Elem())
	(&checker{report: rep, Config: c, dir: dir}).all()
	compile(c, rep)
	return c, rep.done()
}

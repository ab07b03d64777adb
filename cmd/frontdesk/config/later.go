package config

// later warns of what is switched on and does nothing yet. It is to be said
// aloud: a deputy or a recording that silently does not happen is a bug of
// whoever wrote the key. A feature that is built loses its line here.
func (c *checker) later() {
	written := func(path string) bool { return c.root.find(path).exact }
	for _, f := range []struct {
		path string
		on   bool
	}{
		{"recordings.mode", c.Recordings.Mode != "off"},
	} {
		if f.on && written(f.path) {
			c.warnAt(f.path, f.path+" is read but has no effect in this version", "")
		}
	}
}

package config

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"frontdesk/call"
)

// Prompt is what a greeting's text may speak of.
type Prompt struct {
	Manager call.Employee // whom the call goes to
}

// Say is the greeting's text for an employee.
func (g *Greeting) Say(manager call.Employee) (string, error) {
	if g.template == nil {
		return "", fmt.Errorf("the greeting's text was not compiled")
	}
	var b strings.Builder
	if err := g.template.Execute(&b, Prompt{Manager: manager}); err != nil {
		return "", fmt.Errorf("fill in the greeting: %w", err)
	}
	return strings.Join(strings.Fields(b.String()), " "), nil
}

var languageTag = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)

func (c *checker) reception() {
	c.greeting()
	c.digits()
	for i, r := range c.Rules {
		if r.OnUnavailable != "" && c.PBX.XAPI == nil {
			at := fmt.Sprintf("rules[%d].on_unavailable", i)
			c.warnAt(at, at+" has no effect without pbx.xapi: nothing tells who takes no calls", "")
		}
	}
}

func (c *checker) greeting() {
	g := &c.Greeting
	c.template(g)
	if !languageTag.MatchString(g.Language) {
		c.failAt("greeting.language", fmt.Sprintf("%q is no language tag", shorten(g.Language)), "write it as ru-RU")
	}
	if g.Before != "" {
		if err := checkWAV(g.Before); err != nil {
			c.failAt("greeting.before", fmt.Sprintf("greeting.before: %v", err), "")
		}
	}
	for _, f := range []struct{ path, name string }{
		{"greeting.recorded", g.Recorded}, {"greeting.google.credentials", g.Google.Credentials},
	} {
		if f.name == "" {
			continue
		}
		if _, err := os.Stat(f.name); err != nil {
			c.failAt(f.path, fmt.Sprintf("%s cannot be read: %v", f.path, reason(err)), "")
		}
	}
	if g.Google.Endpoint != "" {
		c.webAddress("greeting.google.endpoint", g.Google.Endpoint)
	}
	if strings.TrimSpace(g.Cache) == "" {
		c.failAt("greeting.cache", "greeting.cache names no folder", "write greetings/")
	}
}

// template compiles the greeting and tries it on an employee.
func (c *checker) template(g *Greeting) {
	t, err := template.New("greeting").Option("missingkey=error").Parse(g.Text)
	if err == nil {
		g.template = t
		_, err = g.Say(call.Employee{ID: 1, FirstName: "Иван", LastName: "Петров", Extension: "201"})
	}
	if err != nil {
		message, offset := templateError(err, g.Text)
		at := c.root.find("greeting.text")
		where := at.at
		if at.exact {
			where = c.src.place(at.node, offset)
		}
		if !c.spoilt("greeting.text") {
			c.fail(where, "greeting.text", "greeting.text: "+message,
				"there are {{.Manager.FirstName}}, {{.Manager.LastName}} and {{.Manager.Extension}}")
		}
	}
}

var templatePlace = regexp.MustCompile(`template: greeting:(\d+)(?::(\d+))?: (?:executing "greeting" at )?`)

// templateError splits an error of text/template into what is wrong and where:
// a rune offset within the text, or -1.
func templateError(err error, text string) (string, int) {
	s := err.Error()
	m := templatePlace.FindStringSubmatchIndex(s)
	if m == nil {
		return s, -1
	}
	message := s[m[1]:]
	if m[4] < 0 {
		return message, -1
	}
	line, err1 := strconv.Atoi(s[m[2]:m[3]])
	column, err2 := strconv.Atoi(s[m[4]:m[5]]) // in bytes, from 0
	lines := strings.SplitAfter(text, "\n")
	if err1 != nil || err2 != nil || line > len(lines) || column > len(lines[line-1]) {
		return message, -1
	}
	return message, utf8.RuneCountInString(strings.Join(lines[:line-1], "") + lines[line-1][:column])
}

// checkWAV looks whether a file exists and begins as a WAV file does.
func checkWAV(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", reason(err))
	}
	defer func() { _ = f.Close() }()
	var head [12]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return fmt.Errorf("the file is no WAV file")
	}
	return nil
}

func (c *checker) digits() {
	if c.Digits.First > time.Minute {
		c.failAt("digits.first", fmt.Sprintf("digits.first is %s: want 0s to 1m", short(c.Digits.First)), "")
	}
	c.within("digits.next", c.Digits.Next, 100*time.Millisecond, time.Minute)
	if e := c.Digits.End; e != "" && e != "#" && e != "*" {
		c.failAt("digits.end", fmt.Sprintf("digits.end is %q: want # or *", shorten(e)), `write "#", or "" for none`)
	}
}

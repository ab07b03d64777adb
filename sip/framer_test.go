package sip

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// cuts collects what a framer hands on.
type cuts struct {
	messages []string
	pongs    int
}

func (c *cuts) message(b []byte) { c.messages = append(c.messages, string(b)) }
func (c *cuts) pong()            { c.pongs++ }

// feed gives text to a framer in pieces of the given sizes, the last size
// repeated.
func feed(text string, sizes ...int) (*cuts, error) {
	f, to := framer{}, &cuts{}
	var buf []byte
	for i := 0; text != ""; i++ {
		n := min(max(sizes[min(i, len(sizes)-1)], 1), len(text))
		buf, text = append(buf, text[:n]...), text[n:]
		used, err := f.next(buf, to)
		if err != nil {
			return to, err
		}
		buf = buf[used:]
	}
	return to, nil
}

func streamed(method, body string) string {
	return string(request(method, fmt.Sprintf("Content-Length: %d", len(body)))) + body
}

func TestFramer(t *testing.T) {
	t.Parallel()
	options, info := streamed("OPTIONS", ""), streamed("INFO", "a\r\n\r\nb")
	for name, c := range map[string]struct {
		text     string
		messages []string
		pongs    int
	}{
		"one":              {options, []string{options}, 0},
		"pipelined":        {options + info + options, []string{options, info, options}, 0},
		"ping between":     {"\r\n\r\n" + options + "\r\n\r\n" + info + "\r\n\r\n\r\n\r\n", []string{options, info}, 4},
		"stray line end":   {options + "\r\n" + info + "\r\n", []string{options, info}, 0},
		"body like a head": {info + info, []string{info, info}, 0},
		"compact length":   {strings.Replace(info, "Content-Length:", "l :", 1), []string{strings.Replace(info, "Content-Length:", "l :", 1)}, 0},
	} {
		for _, size := range []int{1, 2, 3, 7, 64, 100_000} {
			got, err := feed(c.text, size)
			if err != nil || fmt.Sprint(got.messages) != fmt.Sprint(c.messages) || got.pongs != c.pongs {
				t.Errorf("%s in pieces of %d: %q, %d pongs, %v", name, size, got.messages, got.pongs, err)
			}
		}
	}
}

func TestFramerErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text     string
		want     error
		messages int
	}{
		"no length":        {string(request("OPTIONS")), errFraming, 1},
		"2 GB":             {string(request("INVITE", "Content-Length: 2147483648")), errFraming, 1},
		"20 digits":        {string(request("INVITE", "Content-Length: 99999999999999999999")), errFraming, 1},
		"negative":         {string(request("INVITE", "Content-Length: -1")), errFraming, 1},
		"two lengths":      {string(request("INVITE", "Content-Length: 0", "l: 5")), errFraming, 1},
		"70 kB of header":  {"OPTIONS sip:a@h SIP/2.0\r\nX: " + strings.Repeat("x", 70_000), errTooLarge, 0},
		"70 kB of nothing": {strings.Repeat("\x00", 70_000), errTooLarge, 0},
	} {
		got, err := feed(c.text, 1000)
		if !errors.Is(err, c.want) || len(got.messages) != c.messages {
			t.Errorf("%s: %v, %d messages", name, err, len(got.messages))
		}
	}
}

// A framer looks at each byte about once, however small the pieces.
func TestFramerGrowth(t *testing.T) {
	t.Parallel()
	text := "OPTIONS sip:a@h SIP/2.0\r\nX: " + strings.Repeat("\r\nY: z", 9_000) + "\r\nContent-Length: 0\r\n\r\n"
	if _, err := feed(text, 1); err != nil {
		t.Fatal(err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add(streamed("OPTIONS", "")+"\r\n\r\n"+streamed("INFO", "hello"), byte(1), byte(3))
	f.Add(string(testInvite())+"\r\n", byte(7), byte(200))
	f.Add("\r\r\n\r\n\r\n\n", byte(1), byte(1))
	f.Fuzz(func(t *testing.T, text string, a, b byte) {
		if len(text) > 4*maxMessage {
			return
		}
		whole, wholeErr := feed(text, len(text)+1)
		cut, cutErr := feed(text, int(a), int(b))
		if fmt.Sprint(whole.messages) != fmt.Sprint(cut.messages) || whole.pongs != cut.pongs {
			t.Errorf("pieces of %d, %d change the messages: %q, %q", a, b, whole.messages, cut.messages)
		}
		if (wholeErr == nil) != (cutErr == nil) && len(text) <= maxMessage {
			t.Errorf("pieces change the error: %v, %v", wholeErr, cutErr)
		}
	})
}

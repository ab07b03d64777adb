package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"frontdesk/web"
)

// bars show progress on a terminal, one for each thing that is read. Elsewhere
// they tell only what keeps it from going on.
type bars struct {
	w    io.Writer
	last web.Progress
	bar  *progressbar.ProgressBar
}

func (b *bars) show(p web.Progress) {
	if p.Note != "" && p.Note != b.last.Note {
		b.end()
		_, _ = fmt.Fprintf(b.w, "waiting: %s\n", printable(p.Note)) // a terminal that has gone shows nothing
	}
	if isTerminal(b.w) {
		b.draw(p)
	}
	b.last = p
}

func (b *bars) draw(p web.Progress) {
	if b.bar == nil || b.last.What != p.What {
		b.end()
		b.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(printable(p.What)),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true))
	}
	if p.Total > 0 {
		b.bar.ChangeMax(max(p.Total, p.Done))
	}
	_ = b.bar.Set(p.Done) // see show
}

// end leaves the line of the last bar.
func (b *bars) end() {
	if b.bar != nil {
		_ = b.bar.Finish() // see show
		_, _ = fmt.Fprintln(b.w)
	}
	b.bar = nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

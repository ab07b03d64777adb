package main

import (
	"context"
	"io"
	"log/slog"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
)

// newLogger writes log lines as the configuration says.
func newLogger(cfg config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // the configuration has been checked
	}
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(w, o)
	if cfg.Format == "text" {
		h = slog.NewTextHandler(w, o)
	}
	if cfg.Numbers == "full" {
		h = fullNumbers{h}
	}
	return slog.New(h)
}

// fullNumbers shows telephone numbers, which mask themselves, whole.
type fullNumbers struct{ slog.Handler }

func (h fullNumbers) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(whole(a))
		return true
	})
	return h.Handler.Handle(ctx, out)
}

func (h fullNumbers) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = whole(a)
	}
	return fullNumbers{h.Handler.WithAttrs(out)}
}

func (h fullNumbers) WithGroup(name string) slog.Handler {
	return fullNumbers{h.Handler.WithGroup(name)}
}

func whole(a slog.Attr) slog.Attr {
	if n, ok := a.Value.Any().(call.Number); ok {
		return slog.String(a.Key, string(n))
	}
	return a
}

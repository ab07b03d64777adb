package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/bench/rig"
)

// figures are what one run found.
type figures struct {
	calls    int
	cpu      time.Duration
	rss      int64
	repeated int // INVITEs sent again, and 302s received again
	failed   int
	latency  []time.Duration // INVITE to 302
}

// measure starts p afresh and drives it at rate.
func measure(ctx context.Context, p program, rate int, length time.Duration) (f figures, err error) {
	addr, err := rig.FreePort()
	if err != nil {
		return f, err
	}
	server, err := p.start(ctx, addr.String())
	if err != nil {
		return f, err
	}
	defer func() {
		if e := server.Stop(); e != nil {
			err = errors.Join(err, fmt.Errorf("stopping %s: %w", p.name, e))
		}
	}()
	l, err := newLoad(addr, strconv.Itoa(os.Getpid()))
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, l.caller.Conn.Close()) }()
	l.receive()
	if err := l.warm(ctx); err != nil {
		return f, fmt.Errorf("%w\n%s", err, server.Output())
	}
	before, err := server.Usage()
	if err != nil {
		return f, err
	}
	from := int(l.sent.Load())
	if err := l.send(ctx, rate, length); err != nil {
		return f, err
	}
	after, err := server.Usage()
	if err != nil {
		return f, err
	}
	f = l.figures(from)
	f.cpu, f.rss = after.CPU-before.CPU, after.RSS
	return f, nil
}

// maxCalls of one run.
const maxCalls = 400000

// state is one call.
type state struct {
	sent  int64 // ns since the load's begin
	took  atomic.Int64
	tries int
}

// load places calls from one socket.
type load struct {
	caller   *rig.Caller
	begin    time.Time
	template [][]byte // INVITE, cut where the call's number goes
	ack      [][]byte
	calls    []state
	sent     atomic.Int64
	doubled  atomic.Int64 // 302s that came again
	gone     sync.WaitGroup
}

// mark stands for the number of a call in templates; no other number has it.
const mark = 987654321

func newLoad(addr netip.AddrPort, run string) (*load, error) {
	c, err := rig.NewCaller(addr, run, "+79161234567", "+74951234567")
	if err != nil {
		return nil, err
	}
	cut := func(b []byte) [][]byte { return bytes.Split(b, []byte(strconv.Itoa(mark))) }
	return &load{
		caller: c, begin: time.Now(), calls: make([]state, maxCalls),
		template: cut(c.Invite(mark, netip.MustParseAddrPort("127.0.0.1:40000"))),
		ack:      cut(c.ACK(mark, []byte("SIP/2.0 302 Moved\r\nTo: "+toMark+"\r\n"))),
	}, nil
}

// toMark stands for the To of a response.
const toMark = "<sip:to.mark>"

// receive reads until the socket is closed.
func (l *load) receive() {
	l.gone.Go(func() {
		buf := make([]byte, 65536)
		var out []byte
		for {
			n, err := l.caller.Conn.Read(buf)
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue // an ICMP error of a program that is not there yet
			}
			res := buf[:n]
			if rig.Code(res) != 302 {
				continue
			}
			i := l.caller.Number(res)
			if i < 0 || i >= maxCalls {
				continue
			}
			if !l.calls[i].took.CompareAndSwap(0, int64(time.Since(l.begin))-l.calls[i].sent) {
				l.doubled.Add(1)
			}
			out = bytes.Replace(join(out[:0], l.ack, i), []byte(toMark), rig.Field(res, "To"), 1)
			_, _ = l.caller.Conn.Write(out) // what is lost is sent again by the server, and counted
		}
	})
}

func join(out []byte, parts [][]byte, n int) []byte {
	for i, p := range parts {
		if i > 0 {
			out = strconv.AppendInt(out, int64(n), 10)
		}
		out = append(out, p...)
	}
	return out
}

// place sends the next INVITE.
func (l *load) place(buf []byte) []byte {
	i := int(l.sent.Load())
	l.calls[i].sent = int64(time.Since(l.begin))
	l.sent.Add(1)
	return l.transmit(buf, i)
}

func (l *load) transmit(buf []byte, i int) []byte {
	l.calls[i].tries++
	buf = join(buf[:0], l.template, i)
	_, _ = l.caller.Conn.Write(buf) // as above
	return buf
}

// warm places a call after the other until they are answered, ten seconds at
// most, then some more.
func (l *load) warm(ctx context.Context) error {
	var buf []byte
	for range 200 {
		buf = l.place(buf)
		if err := rig.Rest(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		if l.calls[l.sent.Load()-1].took.Load() == 0 {
			continue
		}
		return l.send(ctx, 1000, time.Second/2)
	}
	return errors.New("no call was answered in ten seconds")
}

// send places rate calls a second, in steps of a millisecond, repeats what is
// not answered in time, and waits until nothing is open.
func (l *load) send(ctx context.Context, rate int, length time.Duration) error {
	first, start := int(l.sent.Load()), time.Now()
	total := min(int(float64(rate)*length.Seconds()), maxCalls-first)
	var buf []byte
	watched := [...]int{first, first, first} // the oldest call that may need its second, third, fourth INVITE
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		due := min(total, int(float64(rate)*time.Since(start).Seconds()))
		for int(l.sent.Load())-first < due {
			buf = l.place(buf)
		}
		now := int64(time.Since(l.begin))
		for k, after := range [...]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3500 * time.Millisecond} {
			for watched[k] < int(l.sent.Load()) && now-l.calls[watched[k]].sent > int64(after) {
				if l.calls[watched[k]].took.Load() == 0 {
					buf = l.transmit(buf, watched[k])
				}
				watched[k]++
			}
		}
		if due == total && (l.settled(first) || time.Since(start) > length+5*time.Second) {
			return rig.Rest(ctx, 200*time.Millisecond) // for the last ACKs
		}
	}
}

// settled reports whether every call since first has its answer.
func (l *load) settled(first int) bool {
	for i := int(l.sent.Load()) - 1; i >= first; i-- {
		if l.calls[i].took.Load() == 0 {
			return false
		}
	}
	return true
}

// figures are those of the calls since from.
func (l *load) figures(from int) (f figures) {
	f.repeated = int(l.doubled.Load())
	for i := from; i < int(l.sent.Load()); i++ {
		f.calls++
		f.repeated += l.calls[i].tries - 1
		if took := l.calls[i].took.Load(); took > 0 {
			f.latency = append(f.latency, time.Duration(took))
		} else {
			f.failed++
		}
	}
	return f
}

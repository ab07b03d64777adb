// Bridge measures calls that frontdesk bridges: two legs each, the media of
// both directions relayed, 50 packets a second each way.
//
//	go run ./bench/bridge -n 50,100 -seconds 10
//
// For each number of calls it starts a fresh frontdesk on one CPU (-cpu),
// answers its calls to the PBX in this process, and once all are up measures
// for a while. The packets carry the time of their sending, and the kernel
// stamps their arrival: added is the time between the two, less the same of
// packets that take the way without frontdesk, at the median.
//
// cpu/100 is user and system time of frontdesk alone, in per cent of one CPU,
// for 100 calls. kB/call is what its resident memory grew by; lost is by
// sequence numbers, overrun what this process's own sockets dropped. Each
// number of calls takes n/50 + seconds + 5 seconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/bench/rig"
)

func main() {
	r := rig.NewReport("bridge", "calls", "cpu/100 %", "kB/call", "added p50/p99/p99.9/max ms", "packets", "lost", "overrun")
	rig.Main("bridge", "50,100", r, func(ctx context.Context, o rig.Load, n int) error { return measure(ctx, o, o.Dir, n, r) })
}

// measure adds one row.
func measure(ctx context.Context, o rig.Load, dir string, n int, r *rig.Report) (err error) {
	phone, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, phone.Close()) }()
	sip, err := rig.FreePort()
	if err != nil {
		return err
	}
	http, err := rig.FreePort()
	if err != nil {
		return err
	}
	server, err := rig.Frontdesk(ctx, o.CPU, o.Binary, dir, fmt.Sprintf(config, sip, http, phone.LocalAddr()), http.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	b := &bench{server: server, n: n, length: time.Duration(o.Seconds) * time.Second}
	for _, side := range []*side{&b.callers, &b.phones} {
		if side.media, err = rig.OpenMedia(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, side.media.Close()) }()
		side.senders = rig.NewSenders(side.media)
		go side.media.Read(func(a rig.Arrival) { side.hear(a, b.listening.Load()) })
	}
	go rig.Phone(phone, b.phones.media.Addr())
	c, err := rig.NewCaller(sip, strconv.Itoa(os.Getpid()), "+79161234567", "+74951234567")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Conn.Close()) }()
	return b.run(ctx, rig.NewCalls(c, b.callers.media.Addr()), r)
}

// bench is one number of calls.
type bench struct {
	server    *rig.Process
	callers   side
	phones    side
	n         int
	length    time.Duration
	listening atomic.Bool
}

// side is the media of all callers, or of all phones.
type side struct {
	media   *rig.Media
	senders *rig.Senders

	mu      sync.Mutex
	heard   [65536]ear // by the port that packets come from
	packets int
	lost    int
	took    []time.Duration
}

type ear struct {
	known bool
	seq   uint16
}

// hear notes one packet.
func (s *side) hear(a rig.Arrival, counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.heard[a.Port]
	if counted {
		s.packets++
		if e.known {
			s.lost += int(int16(a.Seq - e.seq - 1))
		}
		if at, ok := rig.SentAt(a.Payload); ok {
			s.took = append(s.took, a.At.Sub(at))
		}
	}
	e.known, e.seq = true, a.Seq
}

func (b *bench) run(ctx context.Context, calls *rig.Calls, r *rig.Report) error {
	direct, err := b.direct(ctx)
	if err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	go b.callers.senders.Run(sending)
	go b.phones.senders.Run(sending)
	if err := b.place(ctx, calls, 1); err != nil {
		return err
	}
	before, err := b.server.Usage()
	if err != nil {
		return err
	}
	if err := b.place(ctx, calls, b.n-1); err != nil {
		return err
	}
	if err := b.answer(ctx); err != nil {
		return err
	}
	if err := rig.Rest(ctx, time.Second/2); err != nil {
		return err
	}
	from, err := b.server.Usage()
	if err != nil {
		return err
	}
	b.listening.Store(true)
	if err := rig.Rest(ctx, b.length); err != nil {
		return err
	}
	b.listening.Store(false)
	to, err := b.server.Usage()
	if err != nil {
		return err
	}
	if err := calls.Hangup(); err != nil {
		return err
	}
	if err := rig.Rest(ctx, time.Second/2); err != nil { // for the BYEs of the other legs, and what is still being heard
		return err
	}
	b.callers.mu.Lock()
	defer b.callers.mu.Unlock()
	b.phones.mu.Lock()
	defer b.phones.mu.Unlock()
	took := append(b.callers.took, b.phones.took...)
	for i := range took {
		took[i] = max(0, took[i]-direct)
	}
	r.Add(b.n, fmt.Sprintf("%.2f", 100*(to.CPU-from.CPU).Seconds()/b.length.Seconds()*100/float64(b.n)),
		(to.RSS-before.RSS)/int64(max(1, b.n-1))>>10, rig.QuantilesOf(took), b.callers.packets+b.phones.packets,
		b.callers.lost+b.phones.lost, b.callers.media.Overrun()+b.phones.media.Overrun())
	return nil
}

// direct is what a packet takes without frontdesk, at the median.
func (b *bench) direct(ctx context.Context) (time.Duration, error) {
	stream := rig.NewStream(b.phones.media.Addr(), 1)
	b.listening.Store(true)
	for range 200 {
		stream.Send(b.callers.media)
		if err := rig.Rest(ctx, 5*time.Millisecond); err != nil {
			return 0, err
		}
	}
	b.listening.Store(false)
	if err := rig.Rest(ctx, 50*time.Millisecond); err != nil {
		return 0, err
	}
	b.phones.mu.Lock()
	defer b.phones.mu.Unlock()
	q := rig.QuantilesOf(b.phones.took)
	b.phones.took, b.phones.packets, b.phones.lost = nil, 0, 0
	return q.P50, nil
}

// place places calls, 50 a second, until all are answered, and sends on each.
func (b *bench) place(ctx context.Context, calls *rig.Calls, n int) error {
	first := len(calls.All())
	for range n {
		if err := calls.Place(); err != nil {
			return err
		}
		if err := rig.Rest(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if err := calls.Await(ctx, "answer", 10*time.Second, func(c rig.Call) bool { return c.Code/100 == 2 && c.Media.IsValid() }); err != nil {
		return err
	}
	for i, c := range calls.All()[first:] {
		b.callers.senders.Add(rig.NewStream(c.Media, uint32(first+i+1)))
	}
	return nil
}

// answer has the phones send to wherever they are sent to from.
func (b *bench) answer(ctx context.Context) error {
	if err := rig.Rest(ctx, time.Second/2); err != nil {
		return err
	}
	b.phones.mu.Lock()
	defer b.phones.mu.Unlock()
	legs := 0
	for port, e := range b.phones.heard {
		if e.known && uint16(port) != b.callers.media.Addr().Port() {
			legs++
			b.phones.senders.Add(rig.NewStream(rig.At(port), uint32(1000000+port)))
		}
	}
	if legs != b.n {
		return fmt.Errorf("the phones hear %d callers of %d", legs, b.n)
	}
	return nil
}

const config = `
sip: {listen: ["udp://%s"]}
http: {listen: "%s"}
media: {ports: 20000-29999}
trunks:
  carrier: {sources: [127.0.0.1], transfer: [bridge]}
pbx: {sip: ["sip:%s"], extensions: [100-299], queues: [800-899]}
crm: {bitrix24: {webhook: ""}}
log: {level: warn}
rules:
  - {name: office, did: "+7495123*", default: "801"}
`

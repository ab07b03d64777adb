package pbx_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

func BenchmarkParseCDR(b *testing.B) {
	fields := pbx.CDRFields()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pbx.ParseCDR(fields, goodLine); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReaderCall(b *testing.B) {
	c, err := pbx.ParseCDR(pbx.CDRFields(), goodLine)
	if err != nil {
		b.Fatal(err)
	}
	r := reader()
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Call(c)
	}
}

// BenchmarkStream takes 100,000 lines from a socket to settled records, half of
// them of calls that were handed over by us: one call a second.
func BenchmarkStream(b *testing.B) {
	const lines = 100_000
	for b.Loop() {
		began := cpu(b)
		heap := stream(b, lines)
		b.ReportMetric((cpu(b)-began)/lines*1e6, "cpu-us/line")
		b.ReportMetric(float64(heap)/1e6, "heap-MB")
	}
}

// cpu is the processor time of the process in seconds: the machine may have
// other things to do.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func stream(b *testing.B, lines int) (heap uint64) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var settled, told sync.WaitGroup
	settled.Add(lines / 2)
	told.Add(lines)
	quiet := slog.New(slog.DiscardHandler)
	joiner := pbx.NewJoiner(pbx.JoinerConfig{Logger: quiet, Settled: func(r call.Record, _ pbx.Note) {
		if r.Transfer == call.TransferRedirect && r.Result != "" {
			settled.Done()
		}
	}})
	server := pbx.NewCDRServer(l, pbx.CDRConfig{Fields: pbx.CDRFields, Logger: quiet})
	assembler := pbx.NewAssembler(reader())
	var running sync.WaitGroup
	running.Go(func() { _ = joiner.Run(ctx) }) // both end with ctx
	running.Go(func() {
		_ = server.Run(ctx, func(c pbx.CDR) {
			if joined, ok := assembler.Add(c); ok {
				joiner.PBX(joined)
			}
			told.Done()
		})
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(conn)
	at := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	for n := range lines {
		start := at.Add(time.Duration(n) * time.Second / 50)
		from := fmt.Sprintf("+7916%07d", n)
		if n%2 == 0 {
			joiner.Own(redirected(fmt.Sprint("own", n), call.TransferRedirect, call.Number(from), "201", start))
		}
		writeLine(w, n, from, start)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	told.Wait()
	settled.Wait()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	_ = conn.Close()
	cancel()
	running.Wait()
	return m.HeapAlloc
}

func writeLine(w io.Writer, n int, from string, start time.Time) {
	const form = "2006/01/02 15:04:05"
	fmt.Fprintf(w, "Call %d,a_%d,00:00:50,%s,%s,%s,TerminatedBySrc,%s,Ext.201,10000,201,201,,,,,,,,Chain: %s;Ext.201;,Line,Extension,,Anna,Ivan,,\r\n",
		n, n, start.Format(form), start.Add(5*time.Second).Format(form), start.Add(55*time.Second).Format(form), from, from)
}

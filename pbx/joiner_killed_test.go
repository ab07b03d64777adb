package pbx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// mortal is a store whose process dies at one of its writes.
type mortal struct {
	*cupboard
	left    int // writes until then
	settled map[string]bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) SavePending(ctx context.Context, docs map[string][]byte, gone ...string) error {
	if m.left == 0 {
		return errDead
	}
	m.left--
	return m.cupboard.SavePending(ctx, docs, gone...)
}

// settle writes a record and what is kept of it in one transaction.
func (m *mortal) settle(r call.Record, n pbx.Note) {
	if err := n.Save(context.Background(), m); err == nil {
		m.settled[r.ID] = true
	}
}

// lives runs a joiner on the store while f tells it things.
func (m *mortal) lives(t *testing.T, f func(j *pbx.Joiner)) {
	t.Helper()
	j := pbx.NewJoiner(pbx.JoinerConfig{Pending: m, Staff: staffOf{}, Settled: m.settle, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- j.Run(ctx) }()
	f(j)
	synctest.Wait()
	cancel()
	<-done
}

// TestKilledWhileJoining kills the process at any write: after the start the
// PBX's log tells of the call again, the store of the record that was not
// settled, and there is one record, ours.
func TestKilledWhileJoining(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"redirected", "bridged"} {
		for _, first := range []string{"own", "pbx"} {
			for _, again := range []pbx.Account{pbx.AccountCDR, pbx.AccountLog} {
				died := true
				for at := 0; died; at++ {
					t.Run(fmt.Sprintf("%s, %s first, told again by %v, dead at %d", kind, first, again, at), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { died = killedAt(t, kind, first == "pbx", again, at) })
					})
				}
			}
		}
	}
}

func killedAt(t *testing.T, kind string, pbxFirst bool, again pbx.Account, at int) (died bool) {
	m := &mortal{cupboard: newCupboard(), left: at, settled: map[string]bool{}}
	began := time.Now()
	answered, ended := began.Add(3*time.Second), began.Add(40*time.Second)
	own := bridged("ours", orlova, []stop{{"201", began}}, answered, ended)
	if kind == "redirected" {
		own = redirected("ours", call.TransferRedirect, orlova, "201", began)
	}
	theirs := account("x", orlova, "201", began, ended, talked("201", answered, ended))
	after(40 * time.Second)
	m.lives(t, func(j *pbx.Joiner) {
		tell := []func(){func() { j.Own(own) }, func() { j.PBX(theirs) }}
		if pbxFirst {
			slices.Reverse(tell)
		}
		for _, f := range tell {
			f()
			after(time.Second)
		}
	})
	died = m.left == 0
	m.left = -1 // lives on
	after(time.Minute)
	m.lives(t, func(j *pbx.Joiner) {
		if !m.settled["ours"] {
			j.Left(own, false)
		}
		if theirs.Account = again; again != pbx.AccountCDR {
			theirs.ID = "guid"
		}
		j.PBX(theirs)
		after(10 * time.Minute)
	})
	if got := slices.Sorted(maps.Keys(m.settled)); !slices.Equal(got, []string{"ours"}) {
		t.Errorf("settled are %q", got)
	}
	return died
}

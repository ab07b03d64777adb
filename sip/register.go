package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"frontdesk/call"

	gosip "github.com/emiago/sipgo/sip"
)

// How a registration goes on.
const (
	registerFor   = 10 * time.Minute // what we ask for
	registerMost  = 24 * time.Hour   // what a registrar may make us ask for
	registerLeast = 30 * time.Second // the shortest time between two refreshes
	registerRetry = 5 * time.Second  // after the first failure, doubling
	registerCap   = 10 * time.Minute
	registerLeave = 2 * time.Second // for the last REGISTER, which takes the binding back
)

// Registration keeps a trunk account registered (RFC 3261 section 10), so that
// its carrier sends calls here.
type Registration struct {
	Stack       *Stack
	Registrar   string  // its URI, "sip:carrier.example"
	Account     Address // what is registered, the address of record
	Credentials Credentials
	Logger      *slog.Logger

	registered atomic.Bool
}

// Registered reports whether the account is registered now.
func (r *Registration) Registered() bool { return r.registered.Load() }

// Run registers, refreshes before the binding runs out, and tries again with
// growing pauses when that fails. When ctx ends it takes the binding back and
// returns nil.
func (r *Registration) Run(ctx context.Context) error {
	log := r.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if _, err := parseURI(r.Registrar); err != nil {
		return fmt.Errorf("registering at %q: %w", clean(r.Registrar), err)
	}
	session := registerSession{callID: call.NewID(), tag: call.NewID()}
	pause := registerRetry
	for {
		granted, err := r.register(ctx, &session, registerFor)
		if ctx.Err() != nil {
			return r.leave(ctx, &session)
		}
		var wait time.Duration
		if err == nil {
			if !r.registered.Swap(true) {
				log.Info("registered", "registrar", r.Registrar, "for", granted)
			}
			pause, wait = registerRetry, max(registerLeast, granted*4/5)
		} else {
			r.registered.Store(false)
			log.Warn("not registered", "registrar", r.Registrar, "error", err, "again in", pause)
			wait = pause + rand.N(pause/4)
			pause = min(2*pause, registerCap)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return r.leave(ctx, &session)
		}
	}
}

// registerSession is what all REGISTERs of one account share.
type registerSession struct {
	callID, tag string
	cseq        uint32
}

// leave takes the binding back, if there is one. A registrar that does not
// answer lets it run out.
func (r *Registration) leave(ctx context.Context, s *registerSession) error {
	if !r.registered.Swap(false) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), registerLeave)
	defer cancel()
	if _, err := r.register(ctx, s, 0); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("taking back the registration: %w", err)
	}
	return nil
}

// register sends one REGISTER, answers its challenge, and tells for how long
// the binding was granted.
func (r *Registration) register(ctx context.Context, s *registerSession, expires time.Duration) (time.Duration, error) {
	f, err := r.Stack.flowOf(ctx, r.Registrar, netip.AddrPort{}, "")
	if err != nil {
		return 0, fmt.Errorf("registering at %q: %w", clean(r.Registrar), err)
	}
	d := r.draft(s, f, expires)
	var try tried
	for {
		s.cseq++
		d.cseq = s.cseq
		got, err := r.Stack.ask(ctx, d, f)
		if err != nil {
			return 0, fmt.Errorf("registering at %s: %w", f.remote(), err)
		}
		if auth, ok := try.answer(&r.Credentials, d, got); ok {
			again := *d
			again.headers = withAuth(d.headers, auth)
			d = &again
			continue
		}
		if code := got.res.StatusCode; code == 423 && expires > 0 { // section 10.2.8
			if n, err := strconv.Atoi(value(got.res.Headers(), "Min-Expires")); err == nil && n <= int(registerMost/time.Second) && time.Duration(n)*time.Second > expires {
				return r.register(ctx, s, time.Duration(n)*time.Second)
			}
			return 0, fmt.Errorf("registering at %s: refused with 423 and no way out", f.remote())
		} else if code/100 != 2 {
			return 0, fmt.Errorf("registering at %s: refused with %d %s", f.remote(), code, clean(got.res.Reason))
		}
		return grantedTo(got.res.Headers(), r.Stack.contact(f), expires), nil
	}
}

func (r *Registration) draft(s *registerSession, f flow, expires time.Duration) *draft {
	account := r.Account.String()
	return &draft{
		method: gosip.REGISTER, uri: r.Registrar,
		headers: []Header{{"Expires", strconv.Itoa(int(expires / time.Second))}, {"Allow", allow}},
		draftDialog: draftDialog{
			from: account + ";tag=" + s.tag, to: account, callID: s.callID,
			contact: r.Stack.contact(f), maxForwards: 70,
		},
	}
}

// grantedTo is how long our contact is registered: its own expires parameter,
// else the Expires header, else what was asked for.
func grantedTo(hs []gosip.Header, contact string, asked time.Duration) time.Duration {
	seconds := value(hs, "Expires")
	for _, h := range hs {
		c, ok := h.(*gosip.ContactHeader)
		if !ok || !strings.EqualFold(c.Address.String(), bareURI(contact)) {
			continue
		}
		if i := slices.IndexFunc(c.Params, func(p gosip.HeaderKV) bool { return strings.EqualFold(p.K, "expires") }); i >= 0 {
			seconds = c.Params[i].V
		}
	}
	if n, err := strconv.ParseUint(strings.TrimSpace(seconds), 10, 31); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return asked
}

package pbxtest

import (
	"context"
	"time"

	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// Behaviour is what a number does with a call. The zero value answers at once,
// without ringing, and talks until the caller hangs up.
type Behaviour struct {
	Ring time.Duration // rings so long first (180, where not 0)
	Tone int           // Hz it sends once answered; 0: the number's own, see ToneOf
	Then               // what it does in place of talking

	Early bool // sends 183 and its tone before the answer, in place of 180
	Late  bool // after the answer it offers anew by a re-INVITE without a description
}

// Then is what a number does once it has rung. At most one of the first four is
// set.
type Then struct {
	Code     int    // refuses with this code: 486, 603, 480, 404, 503
	Silent   bool   // says nothing at all after the 100
	NoAnswer bool   // rings for ever
	Redirect string // 302 to another number of this PBX, or a whole sip URI

	HangUp time.Duration // after the answer: hangs up after so long; 0: does not
	Refer  string        // after the answer: transfers the caller there (REFER), as Redirect
}

// Refuse is the behaviour of a number that refuses: "busy", "decline",
// "unregistered", "unknown", or, by any other word, "unavailable".
func Refuse(how string) Behaviour {
	code := 503
	switch how {
	case "busy":
		code = 486
	case "decline":
		code = 603
	case "unregistered":
		code = 480
	case "unknown":
		code = 404
	}
	return Behaviour{Then: Then{Code: code}}
}

// ToneOf is the tone of a number in Hz: 440 for 201, then 80 more for each
// number, up to 1960, and round again. Numbers that are not digits get 440.
func ToneOf(number string) int {
	n := 0
	for _, r := range number {
		if r < '0' || r > '9' {
			return 440
		}
		n = (n*10 + int(r-'0')) % 1_000_000
	}
	const tones = 20
	return 440 + 80*(((n-201)%tones+tones)%tones)
}

// act is the life of one call to a number.
func (p *PBX) act(ctx context.Context, b Behaviour, c *siptest.Call) error {
	if b.Silent {
		<-ctx.Done()
		return nil
	}
	if err := p.ring(ctx, b, c); err != nil {
		return err
	}
	switch {
	case b.Code != 0:
		return c.Reject(b.Code)
	case b.Redirect != "":
		return c.Redirect(p.uri(b.Redirect))
	}
	if err := c.Answer(ctx); err != nil {
		return err
	}
	if err := c.Tone(ctx, b.Tone); err != nil {
		return err
	}
	if b.Late {
		if err := c.ReinviteLate(ctx); err != nil {
			return err
		}
	}
	if b.Refer != "" {
		_, err := c.Transfer(ctx, p.uri(b.Refer))
		return err
	}
	return rest(ctx, b.HangUp)
}

// ring is what happens before a number decides.
func (p *PBX) ring(ctx context.Context, b Behaviour, c *siptest.Call) error {
	switch {
	case b.Early && len(c.Invite().SDP) > 0:
		if err := c.Early(); err != nil {
			return err
		}
		if err := c.Tone(ctx, b.Tone); err != nil {
			return err
		}
	case b.Ring > 0 || b.NoAnswer || b.Early:
		if err := c.Ring(); err != nil {
			return err
		}
	}
	if b.NoAnswer {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if b.Ring > 0 {
		return rest(ctx, b.Ring)
	}
	return nil
}

// rest waits so long, 0 is for ever. It fails with the cause when ctx ends
// first.
func rest(ctx context.Context, d time.Duration) error {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// uri is the SIP address of a number of this PBX; a whole URI stays.
func (p *PBX) uri(number string) string {
	if a, err := sip.ParseAddress(number); err == nil && a.Host != "" {
		return number
	}
	return p.Phone.URI(number)
}

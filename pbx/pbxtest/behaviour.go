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
	Mute  bool // sends nothing once answered
	Late  bool // after the answer it offers anew by a re-INVITE without a description

	Poll *Poll // the number is a queue or a ring group
	Menu *Menu // the number is an IVR
}

// Then is what a number does once it has rung. At most one of the first four is
// set.
type Then struct {
	Code     int    // refuses with this code: 486, 603, 480, 404, 503
	Silent   bool   // says nothing at all after the 100
	NoAnswer bool   // rings for ever
	Redirect string // 302 to another number of this PBX, or a whole sip URI

	Forward string // when it refuses or has rung for Ring: another number, or Mailbox

	HangUp time.Duration // after the answer: hangs up after so long; 0: does not
	Refer  string        // after the answer: transfers the caller there (REFER), as Redirect
	Move   *Move         // after the answer: transfers the caller inside the PBX
}

// Mailbox is where Forward leads to the number's own voicemail, which answers
// with MailboxTone, in Hz.
const (
	Mailbox     = "voicemail"
	MailboxTone = 2200
)

// Move is a transfer inside the PBX. The caller stays in the same SIP dialog,
// as with 3CX, and hears another tone.
type Move struct {
	To    string
	After time.Duration   // of talk
	When  <-chan struct{} // in place of After: when it is closed

	Attended bool          // asks first, while the caller waits
	Talk     time.Duration // how long the two talk then
	Patience time.Duration // how long To may ring before the call comes back; 20 s if 0
}

// Poll makes a number a queue: it answers at once and rings its agents in turn,
// each of whom does with the call as the behaviour of their own number says.
type Poll struct {
	Agents   []string
	Ring     time.Duration // for so long each, or all; 20 s if 0
	All      bool          // all at once
	Rounds   int           // then Overflow; 0: for ever
	Overflow string        // another number; empty: the queue hangs up
	Group    bool          // a ring group: it does not answer before an agent does
}

// Menu makes a number an IVR: it answers and waits for a key.
type Menu struct {
	Keys map[string]string // the number a key leads to; others are passed over
	Wait time.Duration     // so long, then Else; 0: for ever
	Else string            // another number; empty: it hangs up
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

// ring is what a telephone does before it decides.
func ring(ctx context.Context, b Behaviour, c *siptest.Call) error {
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

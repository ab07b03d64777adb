package staff

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	netmail "net/mail"
	"time"

	"frontdesk/call"
	"frontdesk/store"
)

// deed is what was done so far about one limit: the note that a job leaves
// after each step, so that the next one begins there.
type deed struct {
	task
	Name   string    `json:"name"`
	Deputy int       `json:"deputy,omitempty"`
	Begun  time.Time `json:"begun"`

	Cleared   bool   `json:"cleared,omitempty"`
	Successor int    `json:"successor,omitempty"` // who takes the calls from then on
	Role      string `json:"role,omitempty"`      // as which

	Mails map[string]string `json:"mails,omitempty"` // by addressee, what became of it
}

// The roles in which an employee takes calls after the temporary manager.
const (
	roleManager     = "manager"
	roleResponsible = "responsible"
)

// The addressees, in order.
const (
	toDeputy    = "deputy"
	toSuccessor = "successor"
)

// work is the job. It does the steps that are not noted yet; the note goes when
// all are done.
func (x *Expirer) work(ctx context.Context, args json.RawMessage) error {
	var t task
	if err := json.Unmarshal(args, &t); err != nil {
		return store.GiveUp(fmt.Errorf("a job that is no temporary manager's: %w", err))
	}
	d, err := x.steps(ctx, t)
	if err == nil {
		return nil
	}
	x.metrics.deputies.WithLabelValues(resultFailed).Inc()
	if d != nil && d.Cleared && time.Since(d.Begun) > patience {
		// Nobody would find it any more if the job were given up.
		x.log.WarnContext(ctx, "the end of a temporary manager's time cannot be told, it is tried each hour",
			"entity", d.task.key(), "since", d.Begun, "error", err)
		return store.Later(time.Hour)
	}
	return fmt.Errorf("temporary manager of %s %d: %w", t.Kind, t.ID, err)
}

// patience is how long a mail that was refused for good is tried again, as
// servers do say so in error, and after which a job is only asked for hourly.
const patience = 24 * time.Hour

func (x *Expirer) steps(ctx context.Context, t task) (*deed, error) {
	d, err := x.recall(ctx, t)
	if err != nil {
		return nil, err
	}
	if !d.Cleared {
		if done, err := x.clear(ctx, d); err != nil || done {
			return d, err
		}
	}
	if err := x.tell(ctx, d); err != nil {
		return d, err
	}
	return d, x.cfg.Notes.Delete(ctx, noteKey(t))
}

func noteKey(t task) string { return "deputy/" + t.key() }

// recall is the note of what was done about a limit, a new one if nothing was.
func (x *Expirer) recall(ctx context.Context, t task) (*deed, error) {
	d := &deed{task: t}
	text, err := x.cfg.Notes.Get(ctx, noteKey(t))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return d, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("the note of what was done: %w", err)
	}
	return d, nil
}

func (x *Expirer) note(ctx context.Context, d *deed) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("noting what was done: %w", err)
	}
	return x.cfg.Notes.Put(ctx, noteKey(d.task), text)
}

// clear reads the entity and empties its fields. done means that there is
// nothing to clear and nobody to tell: the entity is gone, or somebody set
// another limit, which holds.
func (x *Expirer) clear(ctx context.Context, d *deed) (done bool, err error) {
	e, found, err := x.cfg.Desk.Entity(ctx, d.Kind, d.ID)
	if err != nil {
		return false, err
	}
	begun := !d.Begun.IsZero()
	switch {
	case !found:
		return true, x.dismiss(ctx, d, resultGone)
	case begun && empty(e):
		return false, x.cleared(ctx, d, e) // by the job that wrote the note, and died
	case !e.Until.Equal(d.Until), e.Until.After(time.Now()), begun && e.Temporary != d.Deputy:
		return true, x.dismiss(ctx, d, resultChanged)
	}
	if !begun {
		d.Name, d.Deputy, d.Begun = e.Name, e.Temporary, time.Now().UTC()
		if err := x.note(ctx, d); err != nil {
			return false, err
		}
	}
	after, err := x.cfg.Desk.Clear(ctx, e)
	switch {
	case err != nil:
		return false, err
	case empty(after):
		return false, x.cleared(ctx, d, after)
	case after.Temporary == e.Temporary && after.Until.Equal(e.Until):
		return false, errors.New("the portal took the fields as empty and kept them")
	}
	return true, x.dismiss(ctx, d, resultChanged)
}

func empty(e call.Entity) bool { return e.Temporary == 0 && e.Until.IsZero() }

// cleared notes that the fields are empty, and who takes the calls now.
func (x *Expirer) cleared(ctx context.Context, d *deed, e call.Entity) error {
	d.Cleared, d.Successor, d.Role = true, e.Responsible, roleResponsible
	if e.Manager != 0 {
		d.Successor, d.Role = e.Manager, roleManager
	}
	if err := x.note(ctx, d); err != nil {
		return err
	}
	x.metrics.deputies.WithLabelValues(resultCleared).Inc()
	x.log.InfoContext(ctx, "temporary manager's time has passed", "entity", string(d.Kind), "id", d.ID,
		"until", d.Until, "employee", d.Deputy, "now", d.Successor, "as", d.Role)
	return nil
}

// dismiss ends a job without mails.
func (x *Expirer) dismiss(ctx context.Context, d *deed, result string) error {
	if err := x.cfg.Notes.Delete(ctx, noteKey(d.task)); err != nil {
		return err
	}
	x.metrics.deputies.WithLabelValues(result).Inc()
	x.log.InfoContext(ctx, "temporary manager's limit left alone", "entity", string(d.Kind), "id", d.ID, "until", d.Until, "because", result)
	return nil
}

// tell mails everybody who has not been mailed. One who cannot be reached does
// not keep the other's mail back.
func (x *Expirer) tell(ctx context.Context, d *deed) error {
	owed := d.owed()
	if len(owed) == 0 {
		return nil
	}
	if x.cfg.Post == nil {
		for _, to := range owed {
			x.mailed(ctx, d, to, mailOff)
		}
		return x.note(ctx, d)
	}
	deputy, successor, err := x.people(ctx, d)
	if err != nil {
		return err
	}
	var failed []error
	for _, to := range owed {
		addressee := deputy
		if to == toSuccessor {
			addressee = successor
		}
		err := x.mail(ctx, d, to, addressee, deputy.Employee, successor.Employee)
		failed = append(failed, err)
		if errors.Is(err, errUnnoted) {
			break // nor could the next one be noted
		}
	}
	return errors.Join(failed...)
}

// owed are the addressees whose mail is not noted. Who was temporary manager of
// their own client gets one mail; a limit without a manager changes nothing for
// anybody.
func (d *deed) owed() []string {
	var out []string
	if d.Deputy == 0 {
		return nil
	}
	if d.Mails[toDeputy] == "" {
		out = append(out, toDeputy)
	}
	if d.Successor != 0 && d.Successor != d.Deputy && d.Mails[toSuccessor] == "" {
		out = append(out, toSuccessor)
	}
	return out
}

// mailbox is an employee who can be mailed.
type mailbox struct {
	call.Employee
	address string
}

func (x *Expirer) people(ctx context.Context, d *deed) (deputy, successor mailbox, err error) {
	deputy.Employee, deputy.address, err = x.cfg.Desk.Employee(ctx, d.Deputy)
	if err != nil || d.Successor == 0 {
		return deputy, successor, err
	}
	successor.Employee, successor.address, err = x.cfg.Desk.Employee(ctx, d.Successor)
	return deputy, successor, err
}

// mail sends one mail and notes it.
func (x *Expirer) mail(ctx context.Context, d *deed, to string, addressee mailbox, deputy, successor call.Employee) error {
	if addressee.address == "" || addressee.Dismissed {
		x.mailed(ctx, d, to, mailNoAddress)
		return x.note(ctx, d)
	}
	subject, body, err := x.letters.write(to, d, deputy, successor)
	if err != nil {
		return err
	}
	err = x.cfg.Post.Send(ctx, Message{
		ID: d.messageID(to), To: netmail.Address{Name: personOf(addressee.Employee).Name, Address: addressee.address},
		Subject: subject, Body: body,
	})
	switch {
	case err == nil:
		x.mailed(ctx, d, to, mailSent)
		return x.insist(ctx, d)
	case errors.Is(err, ErrRefused) && time.Since(d.Begun) > patience:
		x.log.ErrorContext(ctx, "a mail about a temporary manager is given up", "entity", string(d.Kind), "id", d.ID,
			"to", to, "employee", addressee.ID, "error", err)
		x.mailed(ctx, d, to, mailRefused)
		return x.note(ctx, d)
	}
	x.metrics.mails.WithLabelValues(mailFailed).Inc()
	return fmt.Errorf("to the %s, employee %d: %w", to, addressee.ID, err)
}

func (x *Expirer) mailed(ctx context.Context, d *deed, to, result string) {
	if d.Mails == nil {
		d.Mails = map[string]string{}
	}
	d.Mails[to] = result
	x.metrics.mails.WithLabelValues(result).Inc()
	x.log.InfoContext(ctx, "temporary manager's end told", "entity", string(d.Kind), "id", d.ID, "to", to, "mail", result)
}

// insistLimit is how long a mail that was sent is tried to be noted, whatever
// else ends.
const insistLimit = 10 * time.Second

// insist notes a mail that was sent. Until it is noted it may be sent again.
func (x *Expirer) insist(ctx context.Context, d *deed) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), insistLimit)
	defer cancel()
	for {
		err := x.note(ctx, d)
		switch {
		case err == nil:
			return nil
		case !pause(ctx, insistPause):
			return fmt.Errorf("%w: %w", errUnnoted, err)
		}
	}
}

const insistPause = 500 * time.Millisecond

// errUnnoted means that a mail was sent and will be sent again.
var errUnnoted = errors.New("a mail was sent and could not be noted")

// messageID is the same for a mail that is sent again, and another for the next
// time that somebody sets the same limit.
func (d *deed) messageID(to string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%d|%s|%s", d.key(), d.Deputy, to, d.Begun.Format(time.RFC3339Nano)))
	return "frontdesk." + hex.EncodeToString(sum[:16])
}

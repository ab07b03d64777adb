package calllog

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/store"
)

// The steps of the ledger.
const (
	StepRegister = "register" // the portal knows the call
	StepShow     = "show"     // its card was shown, best effort
	StepFinish   = "finish"   // the call is over in the portal
	StepAttach   = "attach"   // with its recording
	StepLead     = "lead"     // a lead is there, and with who talked
	StepTask     = "task"     // a task about a missed call
)

// Steps lists the steps, in the order in which they are done.
func Steps() []string {
	return []string{StepLead, StepRegister, StepShow, StepFinish, StepAttach, StepTask}
}

// detail is what a step remembers.
type detail struct {
	Since time.Time `json:"since,omitzero"`  // when it was owed
	Sent  bool      `json:"sent,omitempty"`  // something was sent of which nobody knows whether it was done
	At    time.Time `json:"at,omitzero"`     // when that was sent first
	Asked int       `json:"asked,omitempty"` // how often something was sent; a try may come to nothing before that

	Entry  *Entry     `json:"entry,omitempty"` // register: as it was registered; finish
	CallID string     `json:"call_id,omitempty"`
	Talk   *call.Talk `json:"talk,omitempty"` // attach
	Lead   *Lead      `json:"lead,omitempty"`
	Task   *Task      `json:"task,omitempty"`

	Blind bool `json:"blind,omitempty"` // planned before the employees were known

	Made
}

// Made is what a step left in the portal.
type Made struct {
	ID       int          `json:"id,omitempty"`       // of the activity, the lead, the task or the file
	Owner    crm.EntityID `json:"owner,omitzero"`     // of the activity
	Authored crm.Authored `json:"authored,omitempty"` // as whom it was written
	Activity bool         `json:"activity,omitempty"` // the portal refuses telephony: an activity stands for the call
	Known    bool         `json:"known,omitempty"`    // the caller turned out to be known: no lead was made
}

// row is a step with what it remembers.
type row struct {
	store.LedgerRow
	d detail
}

func newRow(id, step string, leg int, d detail, now time.Time) *row {
	if d.Since = now; d.Sent {
		d.At = now
	}
	return &row{store.LedgerRow{Call: id, Entry: call.Entry{Step: step, Leg: leg, State: call.StepWaiting}}, d}
}

func (r *row) waits() bool { return r.State == call.StepWaiting }
func (r *row) done() bool  { return r.State == call.StepDone }

// encode gives the row as the store keeps it.
func (r *row) encode() (store.LedgerRow, error) {
	text, err := json.Marshal(r.d)
	if err != nil {
		return store.LedgerRow{}, fmt.Errorf("the step %s of call %s: %w", r.Step, r.Call, err)
	}
	out := r.LedgerRow
	out.Detail = text
	return out, nil
}

// rows are the ledger of one call.
type rows map[key]*row

type key struct {
	step string
	leg  int
}

func decodeRows(in []store.LedgerRow) (rows, error) {
	out := rows{}
	var failed error
	for _, l := range in {
		r := &row{LedgerRow: l}
		if len(l.Detail) > 0 {
			if err := json.Unmarshal(l.Detail, &r.d); err != nil {
				failed = errors.Join(failed, fmt.Errorf("the step %s of call %s: %w", l.Step, l.Call, err))
			}
		}
		r.Detail = nil
		out[key{l.Step, l.Leg}] = r
	}
	return out, failed
}

func (rs rows) get(step string, leg int) *row { return rs[key{step, leg}] }

// legs is how many entries there are.
func (rs rows) legs() int {
	n := 0
	for k := range rs {
		n = max(n, k.leg+1)
	}
	return n
}

// waiting reports whether anything is owed.
func (rs rows) waiting() bool {
	for _, r := range rs {
		if r.waits() {
			return true
		}
	}
	return false
}

// blind reports whether something waits that was planned before the employees
// were known.
func (rs rows) blind() bool {
	for _, r := range rs {
		if r.waits() && r.d.Blind {
			return true
		}
	}
	return false
}

// merge brings a plan into a ledger and gives the rows that changed. What is
// done stays done: a miss that is in the portal already, and a conversation of
// which a better account says that it was another's. What turns up later comes
// after it.
func (rs rows) merge(id string, p Plan, recordings bool, now time.Time) []*row {
	var out []*row
	put := func(r *row) {
		r.d.Blind = p.Blind
		rs[key{r.Step, r.Leg}] = r
		out = append(out, r)
	}
	wanted := map[key]bool{}
	for _, e := range rs.place(id, p.Entries) {
		wanted[key{StepRegister, e.Leg}], wanted[key{StepFinish, e.Leg}] = true, true
		if r := rs.get(StepRegister, e.Leg); r == nil || r.d.CallID == "" && !r.d.Sent && !r.done() {
			put(rs.again(id, StepRegister, e.Leg, detail{Entry: &e}, now))
		}
		if r := rs.get(StepFinish, e.Leg); r == nil || r.waits() {
			put(rs.again(id, StepFinish, e.Leg, detail{Entry: &e}, now))
		}
		if e.Talk == nil || !recordings {
			continue
		}
		wanted[key{StepAttach, e.Leg}] = true
		if r := rs.get(StepAttach, e.Leg); r == nil || r.waits() {
			put(rs.again(id, StepAttach, e.Leg, detail{Talk: e.Talk}, now))
		}
	}
	if p.Lead != nil {
		wanted[key{StepLead, 0}] = true
		if r := rs.get(StepLead, 0); r == nil || r.d.Lead == nil || *withoutNew(r.d.Lead) != *withoutNew(p.Lead) || r.waits() {
			put(rs.again(id, StepLead, 0, detail{Lead: p.Lead}, now))
		}
	}
	if p.Task != nil {
		wanted[key{StepTask, 0}] = true
		if r := rs.get(StepTask, 0); r == nil || r.waits() && r.d.Blind {
			put(rs.again(id, StepTask, 0, detail{Task: p.Task}, now))
		}
	}
	return append(out, rs.drop(wanted)...)
}

// withoutNew is a lead without what is to be made, for comparing.
func withoutNew(l *Lead) *Lead {
	out := *l
	out.Create = nil
	return &out
}

// place gives the entries of a plan their legs in the ledger: that of what is
// done for them already, or one on which nothing is done.
func (rs rows) place(id string, plan []Entry) []Entry {
	out := slices.Clone(plan)
	taken := map[int]bool{}
	placed := make([]bool, len(out))
	put := func(i, leg int) {
		out[i].Leg, out[i].External = leg, fmt.Sprintf("%s-%d", id, leg)
		taken[leg], placed[i] = true, true
	}
	for i := range out {
		for leg := range rs.legs() {
			if r := rs.get(StepFinish, leg); r != nil && r.done() && !taken[leg] && out[i].sameAs(r.d.Entry) {
				put(i, leg)
				break
			}
		}
	}
	leg := 0
	for i := range out {
		for ; !placed[i]; leg++ {
			if r := rs.get(StepFinish, leg); !taken[leg] && (r == nil || !r.done()) {
				put(i, leg)
			}
		}
	}
	return out
}

// sameAs reports whether two entries are of one conversation, or of one miss.
func (e *Entry) sameAs(o *Entry) bool {
	talked := e.Status == crm.StatusTalked
	return o != nil && talked == (o.Status == crm.StatusTalked) && (!talked || e.Owner.Employee == o.Owner.Employee)
}

// misplaced reports whether a plan has entries that the ledger does not, or has
// for somebody else.
func (rs rows) misplaced(id string, p Plan) bool {
	return slices.ContainsFunc(rs.place(id, p.Entries), func(e Entry) bool {
		r := rs.get(StepFinish, e.Leg)
		return r == nil || r.waits() && !e.sameAs(r.d.Entry)
	})
}

// again is a row that is owed, with what an earlier one of its name knew.
func (rs rows) again(id, step string, leg int, d detail, now time.Time) *row {
	old := rs.get(step, leg)
	if old == nil {
		return newRow(id, step, leg, d, now)
	}
	d.Since, d.Sent, d.At, d.Asked, d.CallID, d.Made = old.d.Since, old.d.Sent, old.d.At, old.d.Asked, old.d.CallID, old.d.Made
	if d.Since.IsZero() {
		d.Since = now
	}
	out := &row{old.LedgerRow, d}
	out.State = call.StepWaiting
	return out
}

// drop ends what waits and is not wanted any more: a task about a miss that was
// none, a lead for who turned out to be an employee.
func (rs rows) drop(wanted map[key]bool) []*row {
	var out []*row
	for k, r := range rs {
		stays := k.step == StepShow || k.step == StepLead && (!r.d.Blind || r.d.Sent || r.d.ID != 0)
		if r.waits() && !wanted[k] && !stays {
			r.State, r.Error, r.Next = call.StepDone, "not owed any more", time.Time{}
			out = append(out, r)
		}
	}
	return out
}

package calllog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/store"
)

// finish has one entry in the portal: registered, finished, once.
func (j *job) finish(ctx context.Context, fin *row) error {
	e := fin.d.Entry
	reg := j.rows.get(StepRegister, fin.Leg)
	if e == nil || reg == nil {
		return fmt.Errorf("%w: the ledger does not say what is to be finished", errNever)
	}
	if fin.d.Activity {
		return j.activity(ctx, fin, reg)
	}
	if fin.d.Sent {
		if found, err := j.logged(ctx, fin, reg); err != nil || found {
			return err
		}
	}
	if reg.d.CallID == "" {
		if err := j.register(ctx, reg, e); err != nil {
			if !crm.WrongAuth(err) {
				return err
			}
			return j.activity(ctx, fin, reg)
		}
	}
	return j.end(ctx, fin, reg)
}

// logged looks whether an entry is in the portal's statistics.
func (j *job) logged(ctx context.Context, fin, reg *row) (bool, error) {
	found, err := j.l.cfg.CRM.CallsByExternalID(ctx, fin.d.Entry.External)
	if err != nil {
		return false, err
	}
	calls := found[fin.d.Entry.External]
	if len(calls) == 0 {
		return false, nil
	}
	reg.d.CallID, reg.State = calls[0].CallID, call.StepDone
	fin.finished(calls[0].Finished)
	return true, j.save(ctx, reg)
}

// finished notes what the portal made of an entry.
func (r *row) finished(f crm.Finished) {
	r.State, r.d.Sent, r.d.ID, r.d.Owner = call.StepDone, false, f.Activity, f.Owner
	if f.ActivityError != "" {
		r.Error = f.ActivityError
	}
}

// register makes the call known to the portal. What was registered while it
// rang, and of which nobody heard, is registered in the same words: the portal
// then says the same id.
func (j *job) register(ctx context.Context, reg *row, e *Entry) error {
	as := reg.d.Entry
	if as == nil || !reg.d.Sent {
		as = e
	}
	who, err := j.owner(ctx, as.Owner)
	if err != nil {
		return err
	}
	in := as.registration(who, j.entity(as.Entity))
	reg.d.Entry = as
	before, err := j.attempt(ctx, reg)
	if err != nil {
		return err
	}
	out, err := j.l.cfg.CRM.Register(ctx, in)
	if crm.EmployeeNotFound(err) && as.Owner.Else != 0 && as.Owner.Else != who {
		in.Employee = as.Owner.Else
		out, err = j.l.cfg.CRM.Register(ctx, in)
	}
	if answered(reg, before, err); err != nil {
		reg.Error = clip(err)
		return errors.Join(err, j.save(ctx, reg))
	}
	reg.d.CallID, reg.State, reg.Error, reg.Next = out.CallID, call.StepDone, "", time.Time{}
	j.l.metrics.steps.WithLabelValues(StepRegister, resultDone).Inc()
	return j.save(ctx, reg)
}

// registration is an entry as the portal is told of it.
func (e *Entry) registration(who int, entity crm.EntityID) crm.RegisterCall {
	return crm.RegisterCall{
		Employee: who, Number: e.Number, Type: e.Type, Started: e.Started, Line: e.Line,
		ExternalID: e.External, Entity: entity, Create: e.Create,
	}
}

// entity is what an entry belongs to: what the CRM said, or the lead that was
// made for the call.
func (j *job) entity(known crm.EntityID) crm.EntityID {
	if lead := j.rows.get(StepLead, 0); known.ID == 0 && lead != nil {
		return lead.entity()
	}
	return known
}

// entity is what the step of a lead made or found.
func (r *row) entity() crm.EntityID {
	if r.d.ID == 0 || r.d.Owner.ID != 0 {
		return r.d.Owner
	}
	return crm.EntityID{Kind: call.KindLead, ID: r.d.ID}
}

// lookAgain is how often a call is looked for in the statistics that the portal
// neither has live nor finished, before it is registered anew.
const lookAgain = 4

// end finishes a registered call.
func (j *job) end(ctx context.Context, fin, reg *row) error {
	e := fin.d.Entry
	who, err := j.owner(ctx, e.Owner)
	if err != nil {
		return err
	}
	in := crm.FinishCall{
		CallID: reg.d.CallID, Employee: who, Duration: time.Duration(e.Duration), Status: e.Status, Reason: e.Reason,
	}
	before, err := j.attempt(ctx, fin)
	if err != nil {
		return err
	}
	out, err := j.l.cfg.CRM.Finish(ctx, in)
	if crm.EmployeeNotFound(err) && e.Owner.Else != 0 && e.Owner.Else != who {
		fin.Error = fmt.Sprintf("as employee %d: the portal does not accept %d", e.Owner.Else, who)
		in.Employee = e.Owner.Else
		out, err = j.l.cfg.CRM.Finish(ctx, in)
	}
	switch {
	case err == nil:
		fin.finished(out)
		return nil
	case crm.CallNotFound(err):
		return j.vanished(ctx, fin, reg, before, err)
	}
	answered(fin, before, err)
	return err
}

// vanished is about a registered call that is not live any more: it was
// finished by a try of which nobody heard, or the portal forgot it.
func (j *job) vanished(ctx context.Context, fin, reg *row, sent bool, cause error) error {
	found, err := j.logged(ctx, fin, reg)
	if err != nil || found {
		return err
	}
	if sent && fin.d.Asked < lookAgain {
		return retryError{cause} // the statistics may come late
	}
	fin.d.Sent = false
	reg.d.CallID, reg.d.Sent, reg.d.Entry, reg.State = "", false, fin.d.Entry, call.StepWaiting
	return errors.Join(retryError{cause}, j.save(ctx, reg))
}

// retryError is a refusal that is none: it says that something is to be done
// before.
type retryError struct{ cause error }

// Error is the portal's word.
func (r retryError) Error() string { return r.cause.Error() }

// activity writes the call into the timeline of its entity, where the portal
// refuses the methods of telephony.
func (j *job) activity(ctx context.Context, fin, reg *row) error {
	e := fin.d.Entry
	if !fin.d.Activity {
		fin.d.Activity, fin.d.Sent = true, false
		reg.State, reg.Error = call.StepFailed, "the portal refuses telephony to this credential; an activity stands for the call"
		if err := j.save(ctx, reg); err != nil {
			return err
		}
	}
	if fin.d.Sent {
		id, found, err := j.l.cfg.CRM.FindActivity(ctx, e.External)
		if err != nil {
			return err
		}
		if found {
			fin.d.ID, fin.d.Sent = id, false
			return nil
		}
	}
	owner, err := j.belongs(ctx, e)
	if err != nil {
		return err
	}
	who, err := j.owner(ctx, e.Owner)
	if err != nil {
		return err
	}
	before, err := j.attempt(ctx, fin)
	if err != nil {
		return err
	}
	a := e.activity(who, owner)
	made, err := j.l.cfg.CRM.AddActivity(ctx, who, a)
	if answered(fin, before, err); err != nil {
		return err
	}
	fin.d.ID, fin.d.Owner, fin.d.Authored = made.ID, owner, made.Authored
	fin.Error = flag(made.Authored, who)
	return nil
}

// flag says in the ledger that something was not written as the employee.
func flag(by crm.Authored, who int) string {
	if by == crm.AuthoredFallback {
		return fmt.Sprintf("written as the portal's user: the webhook of employee %d is refused", who)
	}
	return ""
}

func (e *Entry) activity(who int, owner crm.EntityID) crm.Activity {
	a := crm.Activity{
		Owner: owner, Number: e.Number, Direction: call.In, Started: e.Started, Responsible: who, Origin: e.External,
		Ended: e.Started.Add(time.Duration(e.Duration)), Open: e.Status == crm.StatusMissed, Text: e.Reason,
	}
	what := "Incoming call"
	switch {
	case e.Type == crm.CallOut:
		what, a.Direction = "Outgoing call", call.Out
	case e.Status == crm.StatusMissed:
		what = "Missed call"
	}
	a.Subject = what + " " + string(e.Number)
	return a
}

// belongs is what an activity is to belong to.
func (j *job) belongs(ctx context.Context, e *Entry) (crm.EntityID, error) {
	if owner := j.entity(e.Entity); owner.ID != 0 {
		return owner, nil
	}
	owner, err := j.l.known(ctx, e.Number)
	if err == nil && owner.ID == 0 {
		return crm.EntityID{}, fmt.Errorf("%w: the portal refuses telephony, and an activity has to belong to somebody the CRM knows", errNever)
	}
	return owner, err
}

// attach gives a finished entry its recording.
func (j *job) attach(ctx context.Context, r *row) error {
	fin, reg := j.rows.get(StepFinish, r.Leg), j.rows.get(StepRegister, r.Leg)
	switch {
	case fin == nil || reg == nil || r.d.Talk == nil:
		return fmt.Errorf("%w: the ledger does not say what is to be attached", errNever)
	case fin.waits():
		return errUnfinished
	case fin.State == call.StepFailed || fin.d.Activity:
		return fmt.Errorf("%w: there is no entry to attach it to", errNever)
	case j.l.cfg.Recordings == nil:
		return fmt.Errorf("%w: recordings are off", errNever)
	}
	if r.d.Sent {
		found, err := j.l.cfg.CRM.CallsByExternalID(ctx, fin.d.Entry.External)
		if err != nil {
			return err
		}
		for _, c := range found[fin.d.Entry.External] {
			if c.File != 0 {
				r.d.ID, r.d.Sent = c.File, false
			}
		}
	}
	if r.d.ID != 0 { // it is there, and was not written down yet
		return j.keepFile(ctx, r)
	}
	sound, err := j.l.cfg.Recordings.Open(ctx, j.id, *r.d.Talk)
	if err != nil {
		return err
	}
	before, err := j.attempt(ctx, r)
	if err != nil {
		return err
	}
	if sound.Link != "" {
		found, _, err := j.l.cfg.CRM.DescribeActivity(ctx, r.d.Talk.Employee, fin.d.ID, "Recording: "+sound.Link)
		if answered(r, before, err); err == nil && !found {
			return fmt.Errorf("%w: the call's entry was deleted in the portal", errNever)
		}
		return err
	}
	file, err := j.l.cfg.CRM.AttachRecord(ctx, reg.d.CallID, sound.Recording)
	if answered(r, before, err); err != nil {
		return err
	}
	r.d.ID, r.d.Sent = file, false
	return j.keepFile(ctx, r)
}

// delivered says that the portal has every recording of the call.
func (j *job) delivered(ctx context.Context) error {
	var talks []call.Talk
	for leg := range j.rows.legs() {
		switch r := j.rows.get(StepAttach, leg); {
		case r == nil:
		case !r.done():
			return nil
		default:
			talks = append(talks, *r.d.Talk)
		}
	}
	if len(talks) == 0 || j.l.cfg.Recordings == nil {
		return nil
	}
	return j.l.cfg.Recordings.Delivered(ctx, j.id, talks)
}

// keepFile writes down that a recording is on the portal's drive, to be deleted
// there when its time has come.
func (j *job) keepFile(ctx context.Context, r *row) error {
	return j.l.cfg.Store.SaveFiles(ctx, store.PortalFile{ID: r.d.ID, Call: j.id, At: r.d.Talk.From})
}

// task makes a task about a missed call.
func (j *job) task(ctx context.Context, r *row) error {
	t := r.d.Task
	if t == nil {
		return fmt.Errorf("%w: the ledger does not say what the task is", errNever)
	}
	who, err := j.owner(ctx, t.Owner)
	if err != nil {
		return err
	}
	in := crm.Task{
		Title: "Call back " + string(t.Number), Text: "Missed call at " + t.Missed.Format("2006-01-02 15:04 -07:00"),
		Responsible: who, Deadline: t.Deadline, Entity: j.entity(t.Entity), Origin: t.Origin,
	}
	if r.d.Sent {
		id, found, err := j.l.cfg.CRM.FindTask(ctx, in, t.Missed)
		if err != nil {
			return err
		}
		if found {
			r.d.ID, r.d.Sent = id, false
			return nil
		}
	}
	before, err := j.attempt(ctx, r)
	if err != nil {
		return err
	}
	made, err := j.l.cfg.CRM.AddTask(ctx, 0, in)
	if crm.EmployeeNotFound(err) && t.Owner.Else != 0 && t.Owner.Else != who {
		in.Responsible = t.Owner.Else
		made, err = j.l.cfg.CRM.AddTask(ctx, 0, in)
	}
	if answered(r, before, err); err == nil {
		r.d.ID, r.d.Sent = made.ID, false
	}
	return err
}

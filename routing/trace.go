package routing

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"frontdesk/call"
)

// Step is one step of a decision: what was looked at, what came of it, and why.
type Step struct {
	Step   string `json:"step"`
	Result string `json:"result"`
	Why    string `json:"why,omitempty"`
}

// moreSteps is how many steps a decision has at most besides rules and
// entities: times, caller, CRM, three sections, sticky, managers, greeting,
// digits, decision.
const moreSteps = 13

// tracer collects steps. What they say lies in one text until the end, which
// spares the hot path an allocation a step.
type tracer struct {
	steps []Step
	ends  []int // of each step's why in text
	text  []byte
}

func newTracer(steps int) tracer {
	const usual = 48 // letters of a why
	return tracer{make([]Step, 0, steps), make([]int, 0, steps), make([]byte, 0, steps*usual)}
}

// note adds a step; why is given in pieces.
func (t *tracer) note(step, result string, why ...string) {
	for _, w := range why {
		t.text = append(t.text, w...)
	}
	t.steps, t.ends = append(t.steps, Step{Step: step, Result: result}), append(t.ends, len(t.text))
}

// trace is all that was noted.
func (t *tracer) trace() []Step {
	text, start := string(t.text), 0
	for i, end := range t.ends {
		t.steps[i].Why = text[start:end]
		start = end
	}
	return t.steps
}

// noteMismatch words the condition that failed, with its value.
func (d *deciding) noteMismatch(r *rule, f failure) {
	const result = "no match"
	switch f.condition {
	case onTrunk:
		d.note(r.label, result, "trunk ", orNone(d.facts.Trunk), " is not ", strings.Join(r.trunks, ", "))
	case onDID:
		d.note(r.label, result, "did ", orNone(string(d.did)), " does not match ", r.did.text)
	case onCaller:
		d.note(r.label, result, "caller ", d.callerText(), " does not match ", r.caller.text)
	case onHours:
		holiday := ""
		if f.holiday != "" {
			holiday = ": holiday "
		}
		d.note(r.label, result, "hours ", r.hours.text, " do not hold at ", d.now(), holiday, f.holiday)
	case onWhen:
		if f.unknown {
			d.note(r.label, result, "when ", r.when.parts[f.part].text, " needs the CRM: ", d.unheard())
			return
		}
		d.note(r.label, result, r.when.explain(d.vars, f.part, f.err))
	}
}

// unheard says why conditions cannot look at the CRM's answer.
func (d *deciding) unheard() string {
	_, blocked := d.blockedBy()
	switch a := &d.facts.CRM; {
	case d.hidden():
		return "the caller has no number to ask for"
	case blocked:
		return "it is not asked about blocked callers"
	case !d.wanted: // whatever the facts hold
		return missing(&call.Answer{Missing: call.MissingNotAsked})
	default:
		return missing(a)
	}
}

// whyMatch words every condition of a rule that matched.
func (d *deciding) whyMatch(r *rule) string {
	var why []string
	if len(r.trunks) > 0 {
		why = append(why, "trunk "+d.facts.Trunk)
	}
	if by, ok := r.did.match(d.did); ok {
		why = append(why, "did "+string(d.did)+" matches "+by)
	}
	if by, ok := r.caller.match(d.caller); ok {
		why = append(why, "caller "+string(d.caller)+" matches "+by)
	}
	if r.hours != nil {
		why = append(why, "hours "+r.hours.text+" hold at "+d.now())
	}
	if r.when != nil {
		why = append(why, "when "+r.when.text+" is true")
	}
	if why == nil {
		return "it has no conditions"
	}
	return strings.Join(why, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func (d *deciding) callerText() string {
	if d.facts.Anonymous {
		return "(hidden)"
	}
	return orNone(string(d.caller))
}

func (d *deciding) now() string {
	if d.clock == "" {
		d.clock = d.at.Format("Mon 2006-01-02 15:04:05")
	}
	return d.clock
}

// noteTook says how long each fact took.
func (d *deciding) noteTook() {
	if len(d.facts.Took) == 0 {
		return
	}
	var took []string
	for _, name := range sortedKeys(d.facts.Took) {
		took = append(took, name+" took "+time.Duration(d.facts.Took[name]).Round(time.Microsecond).String())
	}
	d.note("facts", "gathered", strings.Join(took, ", "))
}

func (d *deciding) noteCRM(a *call.Answer) {
	why := "for " + string(d.caller) + ": " + count(len(a.Entities), "entity", "entities")
	switch a.Source {
	case call.SourceLive:
		d.note("crm", "answered", why)
	case call.SourceMirror:
		why += "; the copy is " + time.Duration(a.Age).Round(time.Second).String() + " old"
		if a.Missing != "" {
			why += ", asked because the portal's answer is missing: " + missing(a)
		}
		d.note("crm", "answered by the mirror", why)
	default:
		d.note("crm", "no answer", missing(a))
	}
}

// missing words why there is no answer.
func missing(a *call.Answer) string {
	var why string
	switch a.Missing {
	case call.MissingDeadline:
		why = "the deadline passed"
	case call.MissingError:
		why = "the portal failed"
	case call.MissingSkipped:
		why = "the portal is known to be down and was not asked"
	case call.MissingNotAsked:
		why = "it was not asked"
	default:
		why = "there is none among the facts"
	}
	if a.Error != "" {
		why += ": " + clip(a.Error, longestError)
	}
	return why
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// noteSection says what a section holds: found entities, closed ignored ones.
func (d *deciding) noteSection(kind call.Kind, found, closed int) {
	var notes []string
	result := "ignored"
	switch {
	case found > 0 && d.kind == kind:
		result = "decides"
	case found > 0:
		notes = append(notes, "an earlier section decides")
	default:
		result = "empty"
	}
	if found > 0 {
		notes = append([]string{strconv.Itoa(found) + " found"}, notes...)
	}
	if closed > 0 {
		notes = append(notes, count(closed, "closed one is ignored", "closed ones are ignored"))
	}
	for _, k := range d.facts.CRM.Capped {
		if k == kind {
			notes = append(notes, "capped: the portal has more than it told")
		}
	}
	if found+closed > 0 || len(notes) > 0 {
		d.note("section "+string(kind), result, strings.Join(notes, "; "))
	}
}

// noteEntity says whom an entity's calls go to.
func (d *deciding) noteEntity(r *ring, id int, reason string) {
	e := r.entity
	result, why := string(r.extension), ""
	if id != 0 {
		why = string(r.outcome) + " " + person(r.employee)
		if r.outcome == call.OutcomeTemporary {
			why += " until " + d.stamp(e.Until)
		}
	}
	if reason != "" {
		result, why = "nobody", join(why, reason)
	}
	switch {
	case e.Temporary == 0 || r.outcome == call.OutcomeTemporary:
	case e.Until.IsZero():
		why = join(why, "temporary "+strconv.Itoa(e.Temporary)+" has no end and does not count")
	default:
		why = join(why, "temporary "+strconv.Itoa(e.Temporary)+" ended "+d.stamp(e.Until))
	}
	if e.Direct {
		why = join(why, "direct")
	}
	if e.NoSticky {
		why = join(why, "no sticking")
	}
	d.note(describe(e), result, why)
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// describe names an entity: `contact 12 "Acme"`.
func describe(e *call.Entity) string {
	if e.Name == "" {
		return string(e.Kind) + " " + strconv.Itoa(e.ID)
	}
	return string(e.Kind) + " " + strconv.Itoa(e.ID) + " " + strconv.Quote(shortened(e.Name))
}

// person names an employee: "17 Anna Petrova".
func person(e call.Employee) string {
	return shortened(strings.TrimRight(strconv.Itoa(e.ID)+" "+strings.TrimSpace(e.FirstName+" "+e.LastName), " "))
}

// conclude notes what was decided.
func (d *deciding) conclude() {
	why := string(d.Outcome)
	switch {
	case d.Reject != 0:
		d.note("decision", "refused with "+strconv.Itoa(d.Reject), why)
		return
	case d.absent != "":
		why += ": on_unavailable of the rule, for " + string(d.absent)
	case d.Employee != nil && d.Entity != nil:
		why += " " + person(*d.Employee) + " of " + describe(d.Entity)
	case d.Employee != nil:
		why += " " + person(*d.Employee)
	case d.Entity != nil:
		why += " of " + describe(d.Entity)
	case d.Outcome != call.OutcomeDigits:
		why += ": the rule's default"
	}
	d.note("decision", string(d.Target), why)
}

// WriteText writes d with its trace for people, one step a line. What came from
// outside cannot move the cursor: characters that do not print are escaped.
func (d Decision) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, s := range d.Trace {
		cells := []string{printable(s.Step), printable(s.Result), printable(s.Why)}
		if _, err := fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t")); err != nil {
			return fmt.Errorf("write trace: %w", err)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	_, err := fmt.Fprintln(w, d.summary())
	if err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	return nil
}

// summary is the decision on one line.
func (d Decision) summary() string {
	if d.Reject != 0 {
		return fmt.Sprintf("=> refused with %d (%s)", d.Reject, d.Outcome)
	}
	greeting := "no greeting"
	if d.Greeting {
		greeting = "greeting"
	}
	return fmt.Sprintf("=> %s (%s, %s) by rule %s, default %s", d.Target, d.Outcome, greeting, strconv.Quote(d.Rule), d.Default)
}

// printable is s with everything escaped that does not print.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

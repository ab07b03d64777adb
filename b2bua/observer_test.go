package b2bua_test

import (
	"slices"
	"sync"
	"testing"

	"frontdesk/call"
	"frontdesk/pbx/pbxtest"
)

// observer notes what it is told, and of which calls.
type observer struct {
	mu   sync.Mutex
	told []string
	ids  []string
}

func (o *observer) Ringing(r call.Record) { o.note(r.ID, "rings at "+string(r.Target)) }

func (o *observer) Answered(id string, ext call.Extension) { o.note(id, "answered by "+string(ext)) }

func (o *observer) note(id, what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told, o.ids = append(o.told, what), append(o.ids, id)
}

func (o *observer) all() (told, ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.told), slices.Clone(o.ids)
}

// TestObserved: the observer is told once for each target that is rung, and who
// answered; of every call by the id of its record.
func TestObserved(t *testing.T) {
	ring := call.TransferBridge
	for name, c := range map[string]struct {
		options []option
		want    []string
	}{
		"answered":              {nil, []string{"rings at 201", "answered by 201"}},
		"redirected by the PBX": {[]option{number("201", pbxtest.Behaviour{Then: pbxtest.Then{Redirect: "203"}})}, []string{"rings at 201", "rings at 203", "answered by 203"}},
		"busy":                  {[]option{number("201", pbxtest.Refuse("busy")), number("800", pbxtest.Refuse("busy"))}, []string{"rings at 201", "rings at 800"}},
		"redirected to the PBX": {[]option{transfers(call.TransferRedirect)}, []string{"rings at 201"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := &observer{}
			r := setup(t, append([]option{quiet, transfers(ring), func(r *rig) { r.observer = o }}, c.options...)...)
			phone := r.call()
			final, err := phone.WaitFinal(r.ctx)
			r.must(err)
			if final.Code < 300 {
				r.must(phone.Hangup(r.ctx))
			}
			rec := r.record()
			told, ids := o.all()
			if !slices.Equal(told, c.want) {
				t.Errorf("the observer was told %q, want %q", told, c.want)
			}
			if slices.ContainsFunc(ids, func(id string) bool { return id != rec.ID }) {
				t.Errorf("it was told of %q, the record is %s", ids, rec.ID)
			}
		})
	}
}

// TestNotObserved: nobody is told of the PBX's own calls.
func TestNotObserved(t *testing.T) {
	o := &observer{}
	r := setup(t, carrier, func(r *rig) { r.observer = o })
	c := r.callOut("+74957654321")
	r.must(c.WaitAnswer(r.ctx))
	r.must(c.Hangup(r.ctx))
	r.record()
	if told, _ := o.all(); len(told) != 0 {
		t.Errorf("the observer was told %q", told)
	}
}

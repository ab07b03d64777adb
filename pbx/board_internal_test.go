package pbx

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"frontdesk/call"

	"github.com/google/go-cmp/cmp"
)

// play plays a script on a board, a step a second: "+101/1 5 Ringing" with the
// rest of the participant as JSON, "-101/1" for its removal.
func play(t *testing.T, steps ...string) []Call {
	t.Helper()
	b := newBoard("RU", time.Second)
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	var dns []controlDN
	for _, s := range []string{`{"dn":"101","type":"Wextension"}`, `{"dn":"102","type":"Wextension"}`, `{"dn":"105","type":"Wextension"}`, `{"dn":"820","type":"Wivr"}`, `{"dn":"10000","type":"Wexternalline"}`} {
		var d controlDN
		if err := json.Unmarshal([]byte(s), &d); err != nil {
			t.Fatal(err)
		}
		dns = append(dns, d)
	}
	b.reset(dns, at)
	for _, s := range steps {
		at = at.Add(time.Second)
		var dn, rest string
		var id, callID int
		if s[0] == '-' {
			if _, err := fmt.Sscanf(s, "-%3s/%d", &dn, &id); err != nil {
				t.Fatal(s, err)
			}
			b.remove(fmt.Sprintf("/callcontrol/%s/participants/%d", dn, id), at)
			continue
		}
		var status string
		if _, err := fmt.Sscanf(s, "+%3s/%d %d %s %s", &dn, &id, &callID, &status, &rest); err != nil {
			t.Fatal(s, err)
		}
		var p participantWire
		text := fmt.Sprintf(`{"id":%d,"status":%q,"dn":%q,"callid":%d,%s}`, id, status, dn, callID, rest)
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(text, err)
		}
		if !b.upsert(fmt.Sprintf("/callcontrol/%s/participants/%d", dn, id), p, at) {
			t.Fatalf("%s is not known", dn)
		}
	}
	out := b.over(at) // those whose grace is over by now
	out = append(out, b.over(at.Add(time.Hour))...)
	if len(b.calls)+len(b.joined)+len(b.seats) != 0 {
		t.Errorf("left behind: %d calls, %d joined, %d seats", len(b.calls), len(b.joined), len(b.seats))
	}
	return out
}

const outside = `"party_dn":"10000","party_dn_type":"Wexternalline","party_caller_id":"89161234567"`

func inside(dn string) string {
	return fmt.Sprintf(`"party_dn":%q,"party_dn_type":"Wextension","party_caller_id":%q`, dn, dn)
}

// brief writes a call for comparison.
func brief(c Call) string {
	s := fmt.Sprintf("%s %s %s>%s first=%s trunk=%s %s%s", c.ID, c.Direction, c.Caller, c.Callee, c.First, c.Trunk, c.Result, c.MissedIn)
	for _, t := range c.Talks {
		s += fmt.Sprintf(" %s:%d", t.Extension, t.Seconds)
	}
	return s + fmt.Sprintf(" rang=%v", c.Rang)
}

func TestBoard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps []string
		want  []string
	}{
		"answered": {
			[]string{"+101/1 5 Ringing " + outside, "+101/1 5 Connected " + outside, "-101/1"},
			[]string{"5 in +79161234567> first=101 trunk=10000 answered 101:1 rang=[]"},
		},
		"missed": {
			[]string{"+101/1 5 Ringing " + outside, "-101/1"},
			[]string{"5 in +79161234567> first=101 trunk=10000 missedextension rang=[101]"},
		},
		"missed in a menu": {
			[]string{"+820/1 5 Connected " + outside, "-820/1"},
			[]string{"5 in +79161234567> first=820 trunk=10000 missedivr rang=[]"},
		},
		"outgoing": {
			[]string{"+101/1 5 Dialing " + outside, "+101/1 5 Connected " + outside, "-101/1"},
			[]string{"5 out 101>+79161234567 first= trunk=10000 answered 101:1 rang=[]"},
		},
		"outgoing, not taken": {
			[]string{"+101/1 5 Dialing " + outside, "-101/1"},
			[]string{"5 out 101>+79161234567 first= trunk=10000 missed rang=[]"},
		},
		"within the house": {
			[]string{"+101/1 5 Dialing " + inside("102"), "+102/2 5 Ringing " + inside("101"), "+102/2 5 Connected " + inside("101"), "+101/1 5 Connected " + inside("102"), "-102/2", "-101/1"},
			[]string{"5 internal 101>102 first=102 trunk= answered 102:2 rang=[]"},
		},
		"unseen transfer in the same call": {
			[]string{"+101/1 5 Ringing " + outside, "+101/1 5 Connected " + outside, "-101/1",
				"+105/2 5 Ringing " + outside + `,"referred_by_dn":"101"`, "+105/2 5 Connected " + outside + `,"referred_by_dn":"101"`, "-105/2"},
			[]string{"5 in +79161234567> first=101 trunk=10000 answered 101:1 105:1 rang=[]"},
		},
		"unseen transfer in a call of its own": {
			[]string{"+101/1 5 Ringing " + outside, "+101/1 5 Connected " + outside,
				"+105/2 6 Ringing " + outside + `,"referred_by_dn":"101"`, "-101/1", "+105/2 6 Connected " + outside + `,"referred_by_dn":"101"`, "-105/2"},
			[]string{"5 in +79161234567> first=101 trunk=10000 answered 101:2 105:1 rang=[]"},
		},
		"transfer after a word, the consultation's call goes on": {
			[]string{"+101/1 5 Ringing " + outside, "+101/1 5 Connected " + outside, // 09:00:02
				"+101/2 6 Dialing " + inside("105"), "+105/3 6 Ringing " + inside("101"), "+105/3 6 Connected " + inside("101"),
				"+105/3 6 Connected " + outside + `,"referred_by_dn":"101"`, "-101/1", "-101/2", "-105/3"},
			[]string{"5 in +79161234567> first=101 trunk=10000 answered 101:5 105:3 rang=[]"},
		},
		"transfer after a word, the first call goes on": {
			[]string{"+101/1 5 Ringing " + outside, "+101/1 5 Connected " + outside,
				"+105/3 6 Ringing " + inside("101"), "+105/3 6 Connected " + inside("101"),
				"-101/1", "+105/3 5 Connected " + outside, "-105/3"},
			[]string{"6 internal 101>105 first=105 trunk= answered 105:2 rang=[]", "5 in +79161234567> first=101 trunk=10000 answered 101:3 105:1 rang=[]"},
		},
		"two calls of one number at once": {
			[]string{"+101/1 5 Ringing " + outside, "+105/2 6 Ringing " + outside, "+101/1 5 Connected " + outside, "+105/2 6 Connected " + outside, "-101/1", "-105/2"},
			[]string{"5 in +79161234567> first=101 trunk=10000 answered 101:2 rang=[]", "6 in +79161234567> first=105 trunk=10000 answered 105:2 rang=[]"},
		},
		"both rang, one took it": {
			[]string{"+101/1 5 Ringing " + outside, "+105/2 5 Ringing " + outside, "+101/1 5 Connected " + outside, "-105/2", "-101/1"},
			[]string{"5 in +79161234567> first=101 trunk=10000 answered 101:2 rang=[105]"},
		},
		"gone twice": {
			[]string{"+101/1 5 Ringing " + outside, "-101/1", "-101/1"},
			[]string{"5 in +79161234567> first=101 trunk=10000 missedextension rang=[101]"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, ended := range play(t, c.steps...) {
				got = append(got, brief(ended))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestFeed reads what a websocket may bring.
func TestFeed(t *testing.T) {
	t.Parallel()
	const entity = "/callcontrol/101/participants/8106"
	message := func(sequence, kind any, entity string) []byte {
		b, err := json.Marshal(map[string]any{"sequence": sequence, "event": map[string]any{"event_type": kind, "entity": entity, "attached_data": nil}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	f := &feed{}
	for _, c := range []struct {
		data     []byte
		ok, lost bool
	}{
		{message(60, 0, entity), true, false},
		{message(60, 0, entity), false, false}, // the same
		{message(61, 1, entity), true, false},
		{message(65, 0, entity), true, true}, // a gap
		{message(63, 0, entity), true, false},
		{message(66, 2, entity), false, false},                             // digits
		{message(67, 0, "/callcontrol/101/devices/a"), false, false},       // no participant
		{message(68, 0, "/callcontrol/101/../../xapi/v1"), false, false},   // no path to be asked for
		{message(69, 0, "https://elsewhere/participants/1"), false, false}, // nor an address
		{message(70, 0, "/callcontrol/10?1/participants/8"), false, false},
		{message(71, 0, "/callcontrol/%2e/participants/8"), false, false},
		{message("72", "0", entity), true, false},
		{message(nil, 0, entity), true, false},
		{message(nil, nil, entity), false, false},
		{[]byte("nothing"), false, false},
		{[]byte(`{"event":null}`), false, false},
	} {
		_, ok := f.parse(c.data)
		if lost := f.lost.Swap(false); ok != c.ok || lost != c.lost {
			t.Errorf("%s: ok=%t lost=%t", c.data, ok, lost)
		}
	}
}

// FuzzBoard lets anything happen to a board: it must not fall, and nothing may
// be left of calls that are over.
func FuzzBoard(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 200, 5, 17, 90, 33})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBoard("RU", time.Second)
		b.kinds = map[call.Extension]string{"101": dnExtension, "102": dnExtension, "800": dnQueue}
		at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		for i, d := range data {
			at = at.Add(time.Millisecond)
			entity := fmt.Sprintf("/callcontrol/%s/participants/%d", []string{"101", "102", "800"}[int(d)%3], d>>6)
			if d&4 != 0 {
				b.remove(entity, at)
				continue
			}
			p := participantWire{ID: "1", Status: loose([]string{"Ringing", "Connected", "Dialing", "Odd"}[i%4]), CallID: loose(fmt.Sprint(d >> 5))}
			p.PartyNumber, p.PartyDN, p.PartyDNType = loose(fmt.Sprintf("8916123456%d", d>>7)), "10000", loose([]string{"Wexternalline", "Wextension"}[int(d>>3)&1])
			p.ReferredBy = loose([]string{"", "101", "102"}[int(d)%3])
			b.upsert(entity, p, at)
		}
		b.reset(nil, at)
		for _, c := range b.over(at.Add(time.Hour)) {
			if c.Ended.Before(c.Started) || c.ID == "" {
				t.Errorf("%+v", c)
			}
		}
		if len(b.calls)+len(b.joined)+len(b.seats) != 0 {
			t.Errorf("left behind: %d calls, %d joined, %d seats", len(b.calls), len(b.joined), len(b.seats))
		}
	})
}

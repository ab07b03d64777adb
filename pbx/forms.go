package pbx

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

// formsLast is how long it is believed which form of an action a PBX has: it
// may be updated while we run.
const formsLast = time.Hour

// action is something that versions of 3CX offer in different forms.
type action int

// The actions whose form is found out.
const (
	deleteContacts action = iota
	userByNumber
)

// forms remembers by which form each action worked.
type forms struct {
	mu    sync.Mutex
	known map[action]form
}

type form struct {
	index int
	until time.Time
}

// get is the form to begin with: the one that worked, else the newest.
func (f *forms) get(a action) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k, ok := f.known[a]; ok && time.Now().Before(k.until) {
		return k.index
	}
	return 0
}

func (f *forms) worked(a action, index int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k, ok := f.known[a]; ok && k.index == index && time.Now().Before(k.until) {
		return // it is tried anew when its time is over
	}
	if f.known == nil {
		f.known = map[action]form{}
	}
	f.known[a] = form{index, time.Now().Add(formsLast)}
}

// absent reports whether a request failed because this version has no such
// function. 3CX answers 404 to that and to unknown keys; only the latter come
// with its warning.
func absent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusNotFound && e.Code != warnNotFound || e.Status == http.StatusMethodNotAllowed)
}

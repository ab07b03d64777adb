package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Phonebook is the address book of the PBX. Its errors wrap ErrNotHere.
type Phonebook interface {
	// Sync brings the book in step with the CRM, or joins the sync under way if
	// it has the same options, and returns at its end. One that is asked for
	// goes on when ctx ends. progress is called by the goroutine that called
	// Sync. What went wrong is in the answer, with what was done before.
	Sync(ctx context.Context, o PhonebookOptions, progress func(Progress)) (PhonebookSync, error)
}

// PhonebookOptions say how the address book is synced.
type PhonebookOptions struct {
	DryRun bool // compare, and write nothing
	Force  bool // delete however much it is
}

// PhonebookSync is what a sync of the address book found and did, in contacts.
type PhonebookSync struct {
	Problem  string            `json:"problem,omitempty"` // why it is not in step
	DryRun   bool              `json:"dry_run"`
	Contacts PhonebookContacts `json:"contacts"`
	Written  PhonebookWritten  `json:"written"` // of a dry run: what would be
	Withheld int               `json:"withheld_deletions"`
	Examples []string          `json:"examples,omitempty"` // of what a dry run would write
	Began    time.Time         `json:"began"`
	Seconds  float64           `json:"seconds"`
}

// PhonebookContacts are the contacts that there were before.
type PhonebookContacts struct {
	Wanted    int `json:"wanted"`    // as many as the CRM calls for
	Ours      int `json:"ours"`      // with a Tag of ours
	Foreign   int `json:"foreign"`   // without; they are not touched
	Unchanged int `json:"unchanged"` // as they should be
	Adopted   int `json:"adopted"`   // known by their Tag alone
	Theirs    int `json:"theirs"`    // ours once, and taken over by people
}

// PhonebookWritten are contacts by what was done to them.
type PhonebookWritten struct {
	Created int `json:"created"`
	Updated int `json:"updated"`
	Deleted int `json:"deleted"`
	Refused int `json:"refused"` // by the PBX; the log says why
}

func (s *Server) syncPhonebook(w http.ResponseWriter, r *http.Request) {
	o, err := phonebookOptions(r.URL.RawQuery)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	s.watch(w, r, "sync the address book", func(ctx context.Context, progress func(Progress)) (any, error) {
		return s.cfg.Tools.Phonebook.Sync(ctx, o, progress)
	})
}

func phonebookOptions(query string) (PhonebookOptions, error) {
	var o PhonebookOptions
	q, err := url.ParseQuery(query)
	if err != nil {
		return o, errors.New("the query cannot be read")
	}
	known := map[string]*bool{"dry_run": &o.DryRun, "force": &o.Force}
	for name, values := range q {
		switch value, into := values[len(values)-1], known[name]; {
		case into == nil:
			return o, fmt.Errorf("there is no parameter %q; there are dry_run and force", clip(name))
		case len(values) > 1:
			return o, fmt.Errorf("%s is given %d times", clip(name), len(values))
		default:
			if *into, err = strconv.ParseBool(value); err != nil {
				return o, fmt.Errorf("%s: %q is neither true nor false", name, clip(value))
			}
		}
	}
	return o, nil
}

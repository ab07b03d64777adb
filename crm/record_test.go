package crm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

func mp3(n int) []byte {
	return append([]byte{0xFF, 0xFB, 0x50, 0xC4}, bytes.Repeat([]byte{0x55}, max(n-4, 0))...)
}

func recording(name string, content []byte) crm.Recording {
	return crm.Recording{Name: name, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// finished is a world with a call that is over.
func finished(t *testing.T, w *world, id string) string {
	t.Helper()
	r := register(t, w, incoming(id))
	if _, err := w.Finish(t.Context(), talked(r.CallID, 61)); err != nil {
		t.Fatal(err)
	}
	return r.CallID
}

func attach(t *testing.T, w *world, id string, r crm.Recording) int {
	t.Helper()
	file, err := w.AttachRecord(t.Context(), id, r)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

const long = 1<<20 + 1 // longer than what goes within a request

func TestRecordings(t *testing.T) {
	for name, size := range map[string]int{"short": 1000, "long": long} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newDesk(t)
				id := finished(t, w, "leg")
				before := w.portal.Total()
				first := attach(t, w, id, recording("first.mp3", mp3(size)))
				if n := w.portal.Total() - before; n != map[int]int{1000: 1, long: 2}[size] {
					t.Errorf("%d requests", n)
				}
				second := attach(t, w, id, recording("second.wav", wav(size)))
				c := w.portal.Calls()[0]
				if c.RecordID != second || c.Record != "second.wav" || !bytes.Equal(c.Audio, wav(size)) || c.Attached != 2 || first == second {
					t.Errorf("%s, file %d of %d, %d bytes, attached %d times", c.Record, c.RecordID, second, len(c.Audio), c.Attached)
				}
				if files := w.portal.Files(); len(files) != 1 || files[0].Owner != 61 || files[0].Folder != time.Now().Format("2006-01") {
					t.Errorf("files %+v", files)
				}
				logged, err := w.CallsByExternalID(t.Context(), "leg")
				if err != nil || logged["leg"][0].File != second {
					t.Errorf("statistics %+v, %v", logged, err)
				}
			})
		})
	}
}

func wav(n int) []byte {
	return append([]byte("RIFF....WAVEfmt "), make([]byte, max(n-16, 0))...)
}

// A file that is still written, or was cut, is not delivered.
func TestRecordingsOfAnotherSize(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		id := finished(t, w, "leg")
		for _, size := range []int{1000, long} {
			for name, said := range map[string]int64{"shorter": int64(size + 100), "longer": int64(size - 100)} {
				r := recording("a.mp3", mp3(size))
				r.Size = said
				if _, err := w.AttachRecord(t.Context(), id, r); err == nil || crm.Refused(err) {
					t.Errorf("%d bytes, %s than said: %v", size, name, err)
				}
			}
			gone := recording("a.mp3", mp3(size))
			gone.Open = func() (io.ReadCloser, error) { return nil, errGone }
			if _, err := w.AttachRecord(t.Context(), id, gone); !errors.Is(err, errGone) || crm.Ambiguous(err) {
				t.Errorf("without a file: %v", err)
			}
		}
		if c := w.portal.Calls()[0]; c.Attached != 0 {
			t.Errorf("attached %d times", c.Attached)
		}
	})
}

var errGone = errors.New("no such file")

// An address for an upload dies with its credential; then there is a new one,
// once.
func TestAddressesThatDie(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		id := finished(t, w, "leg")
		w.portal.SetFault(crmtest.Fault{Kind: crmtest.Expired, Method: "upload", Times: 1})
		attach(t, w, id, recording("a.mp3", mp3(long)))
		w.portal.SetFault(crmtest.Fault{Kind: crmtest.NoAuth, Method: "upload"})
		before := w.portal.Total()
		if _, err := w.AttachRecord(t.Context(), id, recording("a.mp3", mp3(long))); !crm.Denied(err) || w.portal.Total()-before != 4 {
			t.Errorf("%v after %d requests", err, w.portal.Total()-before)
		}
		w.portal.Script(func(r crmtest.Request) crmtest.Fault {
			if r.Method == "upload" {
				w.portal.ExpireUploads()
			}
			return crmtest.Fault{}
		})
		if _, err := w.AttachRecord(t.Context(), id, recording("a.mp3", mp3(long))); !crm.Denied(err) {
			t.Errorf("expired all the time: %v", err)
		}
	})
}

// Faults of the upload, before and after it was taken in: no error shows the
// address, which holds a credential, and repeating does no harm.
func TestUploadsFail(t *testing.T) {
	for _, kind := range crmtest.Kinds() {
		if kind == crmtest.Moved || kind == crmtest.TLSStall || kind == crmtest.Refuse {
			continue // these need sockets
		}
		for _, executed := range []bool{false, true} {
			if testing.Short() && !executed {
				continue // a megabyte each
			}
			t.Run(string(kind), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := newDesk(t)
					id := finished(t, w, "leg")
					w.portal.SetFault(crmtest.Fault{Kind: kind, Method: "upload", Executed: executed, Latency: time.Second, Size: 3 << 20})
					_, err := w.AttachRecord(t.Context(), id, recording("a.mp3", mp3(long)))
					if err != nil && (strings.Contains(err.Error(), "token") && !strings.Contains(err.Error(), "access token provided") ||
						strings.Contains(err.Error(), "http")) {
						t.Errorf("the error shows the address: %v", err)
					}
					if crm.Refused(err) {
						t.Errorf("%v: given up", err)
					}
					w.portal.Heal()
					attach(t, w, id, recording("a.mp3", mp3(long)))
					if c := w.portal.Calls()[0]; c.AudioSize != long || len(w.portal.Files()) != 1 {
						t.Errorf("%d bytes, %d files", c.AudioSize, len(w.portal.Files()))
					}
				})
			})
		}
	}
}

// Nothing is sent to where the portal must not lead us.
func TestAddressesElsewhere(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		`"http://other.test/rest/upload.json?token=` + canary + `"`, `"https://portal.test.evil.example/?token=` + canary + `"`,
		`"ftp://portal.test/?token=` + canary + `"`, `"http://portal.test:81/?token=` + canary + `"`, `"//"`, `""`, `null`, `"%zz"`, `7`,
	} {
		_, err := said(t, `{"uploadUrl":`+address+`,"fieldName":"file"}`).AttachRecord(t.Context(), "x", recording("a.mp3", mp3(long)))
		if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "no usable address") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, result := range []string{`[]`, `true`, `"x"`} {
		if _, err := said(t, result).AttachRecord(t.Context(), "x", recording("a.mp3", mp3(10))); !crm.Ambiguous(err) {
			t.Errorf("%s: %v", result, err)
		}
	}
	row := `"result":{"s0":[{"CALL_ID":"x","RECORD_FILE_ID":"9080"}]}`
	for result, want := range map[string]int{
		`{"FILE_ID":"9079"}`: 9079, `{"FILE_ID":9079}`: 9079, `{"FILE_ID":null}`: 0, `{}`: 0, `{` + row + `}`: 9080,
		`{"result":{"s0":[{"CALL_ID":"y","RECORD_FILE_ID":"9080"}]}}`: 0, `{"result":{"s0":[{"CALL_ID":"x","RECORD_FILE_ID":null}]}}`: 0,
	} {
		file, err := said(t, result).AttachRecord(t.Context(), "x", recording("a.mp3", mp3(10)))
		if file != want || (err == nil) != (want > 0) || err != nil && !crm.Ambiguous(err) {
			t.Errorf("%s: %d, %v", result, file, err)
		}
	}
}

func TestUploadsByTheApplication(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		people(p)
		p.RequireApp("telephony.externalCall.attachRecord")
		w := newAppWorld(t, p, newMemory(), refresh)
		id := finished(t, w, "leg")
		attach(t, w, id, recording("a.mp3", mp3(long)))
		if c := p.Calls()[0]; c.AudioSize != long {
			t.Errorf("%d bytes", c.AudioSize)
		}
	})
}

// zeros is a long recording that is nowhere in memory.
type zeros struct{ io.Reader }

func (zeros) Close() error { return nil }

type endless struct{}

func (endless) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A recording of two hours costs no memory to speak of: on this side of the
// socket it is never there whole.
func TestLongRecordingsAreStreamed(t *testing.T) {
	const size = 256 << 20
	sink := &swallower{}
	c, err := crm.New(crm.Config{Webhook: "http://portal.test/rest/1/" + canary + "/", Transport: sink})
	if err != nil {
		t.Fatal(err)
	}
	r := crm.Recording{Name: "a.wav", Size: size, Open: func() (io.ReadCloser, error) { return zeros{io.LimitReader(endless{}, size)}, nil }}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if file, err := c.AttachRecord(context.Background(), "x", r); err != nil || file != 7 {
		t.Fatal(file, err)
	}
	runtime.ReadMemStats(&after)
	if sink.most < size || sink.most > size+1000 {
		t.Errorf("%d bytes were sent", sink.most)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

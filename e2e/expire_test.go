//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"frontdesk/crm/crmtest"
	"frontdesk/store"
)

// expires has `recordings expire` delete what is older than recordings.keep,
// without a server and by the one that runs: nothing else leaves the portal's
// drive, nor the folder.
func (d *desk) expires() {
	d.t.Helper()
	old := time.Now().Add(-31 * 24 * time.Hour)
	d.portal.AddFile(crmtest.File{Name: "another's.mp3", Created: old})
	foreign := filepath.Join(d.dir, "recordings", "notes.txt")
	d.must(os.WriteFile(foreign, nil, 0o600))
	d.must(os.Chtimes(foreign, old, old))
	d.stop()
	d.expire(old, "without a server")
	due := d.due(old) // while nobody has the store
	d.revive()
	d.expired(due, "by the server")
	if _, err := os.Stat(foreign); err != nil {
		d.t.Errorf("a foreign file: %v", err)
	}
}

func (d *desk) expire(old time.Time, how string) {
	d.t.Helper()
	d.expired(d.due(old), how)
}

// due are two recordings on the portal's drive and one in the folder that are
// made old enough to be deleted.
type due struct {
	files []int
	lines []string // that say so
}

func (d *desk) due(old time.Time) (out due) {
	d.t.Helper()
	tape := fmt.Sprintf("old-%d.wav", len(d.portal.Deleted()))
	path := filepath.Join(d.dir, "recordings", tape)
	d.must(os.WriteFile(path, nil, 0o600))
	d.must(os.Chtimes(path, old, old))
	out.lines = []string{"deleted  " + tape, "2 deleted from the portal, 0 still there, 1 files deleted here"}
	st, err := store.Open(d.t.Context(), strings.ReplaceAll(strings.Trim(d.sections["store"], `"`), "{{.Dir}}", d.dir), store.Options{})
	d.must(err)
	gone := d.deleted()
	for _, c := range d.portal.Calls() {
		if c.RecordID == 0 || slices.Contains(gone, c.RecordID) || len(out.files) == 2 {
			continue
		}
		id, _, _ := strings.Cut(c.ExternalID, "-")
		d.must(st.SaveFiles(d.t.Context(), store.PortalFile{ID: c.RecordID, Call: id, At: old}))
		out.files = append(out.files, c.RecordID)
		out.lines = append(out.lines, fmt.Sprintf("deleted  %d  %s", c.RecordID, id))
	}
	d.must(st.Close())
	return out
}

// deleted are the files that were deleted from the portal's drive.
func (s *server) deleted() (ids []int) {
	for _, f := range s.portal.Deleted() {
		ids = append(ids, f.ID)
	}
	return ids
}

// expired runs the command, and wants what is due deleted and told, and nothing
// else.
func (d *desk) expired(want due, how string) {
	d.t.Helper()
	files, before := len(d.portal.Files()), d.deleted()
	cmd := exec.Command(binary, "recordings", "expire", "--config", d.config())
	cmd.Dir = d.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Errorf("recordings expire %s: %v", how, err)
	}
	for _, line := range want.lines {
		if !strings.Contains(string(out), line) {
			d.t.Errorf("recordings expire %s does not say %q:\n%s", how, line, out)
		}
	}
	gone := d.deleted()[len(before):]
	slices.Sort(gone)
	if slices.Sort(want.files); !slices.Equal(gone, want.files) || len(d.portal.Files()) != files-len(want.files) {
		d.t.Errorf("recordings expire %s deleted %v of %d, want %v", how, gone, files, want.files)
	}
}

package crm

import "time"

// MirrorStatus is how a mirror fares.
type MirrorStatus struct {
	MirrorSize
	Heard  time.Time // the copy is as the portal was then; zero before the first export is complete
	Export *Progress // under way or asked for; nil: none
	Hinder string    // why the export does not go on; it is tried again
}

// Status tells how the mirror fares.
func (m *Mirror) Status() MirrorStatus {
	wanted, hinder := m.pending.exporting(m.known.Load().Swept)
	at := m.known.Load() // after that: an export that ended meanwhile shows here
	s := MirrorStatus{MirrorSize: m.Size()}
	if at.Complete {
		s.Heard = at.Heard
	}
	if !wanted && at.Kind == "" && at.Complete {
		return s
	}
	s.Hinder = hinder
	if p := m.metrics.progress.Load(); p != nil && p.Kind == at.Kind {
		s.Export = p
		return s
	}
	s.Export = &Progress{Kind: at.Kind, At: at.After}
	if at.Kind == "" {
		s.Export.Kind = kindOrder[0]
	}
	return s
}

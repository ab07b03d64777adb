package siptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"frontdesk/media"
	"frontdesk/media/sdp"
)

// maxHeard is how much a call keeps of what it hears.
const maxHeard = 10 * 60 * 8000 // samples

// sound is the media of a call. What it sends is played by one goroutine: jobs
// one after the other, and a background between them.
type sound struct {
	session *media.Session
	codecs  []sdp.Codec
	jobs    chan job
	begun   chan struct{} // closed by the first start
	once    sync.Once
	stop    chan struct{} // closed by close
	gone    chan struct{} // closed when run has ended
	notice
	ears // guarded by notice
}

// ears are what was heard.
type ears struct {
	media  sdp.Media
	pcm    []int16
	digits []byte
}

// job is something to play.
type job struct {
	play func(s *sound) error
	done chan error
}

func newSound(session *media.Session, codecs []sdp.Codec) (*sound, error) {
	s := &sound{session: session, codecs: codecs, jobs: make(chan job), begun: make(chan struct{}),
		stop: make(chan struct{}), gone: make(chan struct{})}
	if err := session.Received(s.hear); err != nil {
		return nil, err
	}
	return s, nil
}

// start takes what was negotiated, first or anew.
func (s *sound) start(m sdp.Media) error {
	if err := s.session.Start(m, media.Options{}); err != nil {
		return err
	}
	s.change(func() { s.media = m })
	s.once.Do(func() { close(s.begun) })
	return nil
}

// hear keeps one packet's samples.
func (s *sound) hear(payloadType uint8, payload []byte) {
	s.change(func() {
		i := slices.IndexFunc(s.media.Formats, func(f sdp.Format) bool { return f.Payload == payloadType })
		if i >= 0 && len(s.pcm) < maxHeard {
			s.pcm = media.Decode(s.pcm, s.media.Formats[i].Codec, payload)
		}
	})
}

// close ends the sound and frees its port. It is called once.
func (s *sound) close() error {
	close(s.stop)
	return s.session.Close()
}

// run plays until close.
func (s *sound) run() {
	defer close(s.gone)
	ctx, cancel := context.WithCancel(context.Background())
	var collected sync.WaitGroup
	defer collected.Wait()
	defer cancel()
	collected.Go(func() { s.collect(ctx) })
	select {
	case <-s.begun:
	case <-s.stop:
		return
	}
	background := media.NewClip(media.Quiet(time.Second))
	for {
		next, err := s.idle(ctx, background)
		if err != nil {
			return
		}
		if next.play == nil {
			continue
		}
		err = next.play(s)
		var tone changeTone
		if errors.As(err, &tone) {
			background, err = tone.clip, nil
		}
		next.done <- err
	}
}

// idle plays the background to its end, or until there is a job.
func (s *sound) idle(ctx context.Context, background *media.Clip) (job, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	played := make(chan error, 1)
	go func() { played <- s.session.Play(ctx, background) }()
	select {
	case err := <-played:
		return job{}, err
	case next := <-s.jobs:
		stop()
		<-played
		return next, nil
	}
}

// collect keeps the digits that arrive.
func (s *sound) collect(ctx context.Context) {
	for {
		select {
		case d := <-s.session.Digits():
			s.change(func() { s.digits = append(s.digits, d) })
		case <-ctx.Done():
			return
		}
	}
}

// changeTone is a job's wish for another background.
type changeTone struct{ clip *media.Clip }

// Error makes it a result that a job can return.
func (changeTone) Error() string { return "another background" }

// do has a job played and waits for its end.
func (s *sound) do(ctx context.Context, play func(s *sound) error) error {
	j := job{play: play, done: make(chan error, 1)}
	select {
	case s.jobs <- j:
	case <-s.gone:
		return media.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return <-j.done // a job ends with ctx, or with the session
}

// tone plays hz from now on, 0 is silence.
func (s *sound) tone(ctx context.Context, hz int) error {
	pcm := media.Quiet(time.Second)
	if hz > 0 {
		pcm = media.Tone(float64(hz), time.Second) // whole periods: it can follow itself
	}
	return s.do(ctx, func(*sound) error { return changeTone{media.NewClip(pcm)} })
}

// play plays a clip to its end.
func (s *sound) play(ctx context.Context, pcm []int16) error {
	return s.do(ctx, func(s *sound) error { return s.session.Play(ctx, media.NewClip(pcm)) })
}

// How long a key is held, and how long until the next.
const (
	keyDown = 100 * time.Millisecond
	keyUp   = 60 * time.Millisecond
)

// press sends digits as RFC 4733 events, or as tones where none were
// negotiated.
func (s *sound) press(ctx context.Context, digits string) error {
	pause := media.NewClip(media.Quiet(keyUp))
	return s.do(ctx, func(s *sound) error {
		for i := range len(digits) {
			if err := s.session.SendDigit(ctx, digits[i], keyDown); err != nil {
				return fmt.Errorf("dialling %q: %w", digits[i], err)
			}
			if err := s.session.Play(ctx, pause); err != nil {
				return err
			}
		}
		return nil
	})
}

// offer writes our own offer.
func (s *sound) offer(d sdp.Direction) []byte {
	local := s.session.Describe()
	local.Direction = d
	return sdp.Offer(local, s.codecs)
}

// answer answers an offer and begins to talk by it.
func (s *sound) answer(offer []byte, d sdp.Direction) ([]byte, error) {
	o, err := sdp.ParseOffer(offer)
	if err != nil {
		return nil, err
	}
	local := s.session.Describe()
	local.Direction = d
	body, m, err := sdp.Answer(o, local, s.codecs)
	if err != nil {
		return nil, err
	}
	return body, s.start(m)
}

// accept reads the answer to our offer and begins to talk by it.
func (s *sound) accept(answer []byte) error {
	a, err := sdp.ParseAnswer(answer)
	if err != nil {
		return err
	}
	m, err := sdp.Accept(a, s.codecs...)
	if err != nil {
		return err
	}
	return s.start(m)
}

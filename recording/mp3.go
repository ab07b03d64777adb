package recording

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// findEncoder is the path of lame, empty where it is not installed.
func findEncoder() string {
	path, err := exec.LookPath("lame")
	if err != nil {
		return ""
	}
	return path
}

// encodeLimit bounds one run of lame: it turns an hour into mp3 in seconds.
const encodeLimit = 10 * time.Minute

// slack is by how much an mp3 may be longer than what it was made of (the
// encoder pads it by some frames), or shorter.
const slack = 500 * time.Millisecond

// tries is how often an mp3 is tried before the WAV is delivered.
const tries = 3

// output is the file that a talk is delivered as, made from a WAV.
func (k *Keeper) output(base string, w Wanted) (File, error) {
	source := k.path(base + wavEnd)
	shape, err := readWAV(source)
	if err != nil {
		return File{}, fmt.Errorf("recording %s: %w", base, err)
	}
	out, length := base, shape.duration()
	from, until, all := span(base, length, w.Talk)
	if !all {
		out = fmt.Sprintf("%s-%d-%d", base, from.Milliseconds(), until.Milliseconds())
		length = until - from
	}
	if length <= 0 { // the disk was full, say
		return File{}, fmt.Errorf("recording %s holds nothing of the talk: %w", base, fs.ErrNotExist)
	}
	if f, err := ready(k.path(out+mp3End), length); !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	plainWAV := k.encoder == "" || k.failure(out).times >= tries
	if plainWAV {
		if f, err := ready(k.path(out+wavEnd), length); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	k.owe(out, func(ctx context.Context) error { return k.make(ctx, source, out, from, until, all, plainWAV) })
	return File{}, ErrNotReady
}

// ready is a file that is there.
func ready(path string, length time.Duration) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	return File{Name: info.Name(), Path: path, Size: info.Size(), Duration: length}, nil
}

// make cuts what has to be cut and encodes it.
func (k *Keeper) make(ctx context.Context, source, out string, from, until time.Duration, all, plainWAV bool) error {
	if !all {
		part := k.path(out + wavEnd + partEnd)
		if err := cut(source, part, from, until); err != nil {
			return errors.Join(err, remove(part))
		}
		if plainWAV {
			return os.Rename(part, k.path(out+wavEnd))
		}
		source = part
		defer func() {
			if err := remove(part); err != nil {
				k.cfg.Logger.Warn("a part of a recording stays behind", "error", err)
			}
		}()
	}
	began := k.cfg.Now()
	err := k.encode(ctx, source, k.path(out+mp3End), until-from)
	k.metrics.encoding.Observe(k.cfg.Now().Sub(began).Seconds())
	return err
}

// encode turns a WAV into mp3 by lame, and checks that it is whole.
func (k *Keeper) encode(ctx context.Context, source, to string, length time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, encodeLimit)
	defer cancel()
	part := to + partEnd
	mode := []string{"-m", "m", "-b", "24"}
	if k.cfg.Stereo {
		mode = []string{"-m", "j", "-b", "32"}
	}
	args := append([]string{"--quiet", "--noreplaygain", "--cbr", "--resample", "8"}, mode...)
	cmd := exec.CommandContext(ctx, k.encoder, append(args, source, part)...)
	cmd.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Start()
	if err == nil {
		// Calls go first: the encoder takes what they leave.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 15)
		err = cmd.Wait()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lame: %w: %s", err, tail(said.Bytes())), remove(part))
	}
	got, err := mp3Duration(part)
	if err == nil && (got < length-slack || got > length+slack) {
		err = fmt.Errorf("lame: the mp3 lasts %v, the call %v", got, length)
	}
	if err != nil {
		return errors.Join(err, remove(part))
	}
	return os.Rename(part, to)
}

// tail is the end of what a program said, quoted.
func tail(b []byte) string {
	const most = 200
	return strconv.Quote(string(b[max(0, len(b)-most):]))
}

// mp3Duration adds up the frames of an mp3 (ISO/IEC 11172-3 section 2.4,
// 13818-3; layer III). Bytes that are no frame are an error, also at the end:
// then it is not whole.
func mp3Duration(path string) (time.Duration, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var total time.Duration
	for first := true; ; first = false {
		var h [4]byte
		switch _, err := io.ReadFull(r, h[:]); {
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return total, fmt.Errorf("mp3: %w", err)
		}
		size, lasts, ok := mp3Frame(h)
		if !ok {
			return total, fmt.Errorf("mp3: no frame after %v", total)
		}
		body, err := r.Peek(min(size-len(h), r.Size()))
		if err == nil && first && (bytes.Contains(body, []byte("Info")) || bytes.Contains(body, []byte("Xing"))) {
			lasts = 0 // a frame about the file, which is not played
		}
		if _, err := r.Discard(size - len(h)); err != nil {
			return total, fmt.Errorf("mp3: its last frame is cut: %w", err)
		}
		total += lasts
	}
}

// Rates of layer III by version, and bit rates by their index.
var (
	mp3Rates    = map[byte][3]int{3: {44100, 48000, 32000}, 2: {22050, 24000, 16000}, 0: {11025, 12000, 8000}}
	mp3BitRate1 = [15]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
	mp3BitRate2 = [15]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}
)

// mp3Frame reads a frame's header: its size in bytes and how long it lasts.
func mp3Frame(h [4]byte) (size int, lasts time.Duration, ok bool) {
	version, layer := h[1]>>3&3, h[1]>>1&3
	rates, known := mp3Rates[version]
	if h[0] != 0xff || h[1]&0xe0 != 0xe0 || layer != 1 || !known || h[2]>>4 == 15 || h[2]>>4 == 0 || h[2]>>2&3 == 3 {
		return 0, 0, false
	}
	bitRate, samples := mp3BitRate2[h[2]>>4], 576
	if version == 3 {
		bitRate, samples = mp3BitRate1[h[2]>>4], 1152
	}
	rate := rates[h[2]>>2&3]
	size = samples/8*bitRate*1000/rate + int(h[2]>>1&1)
	return size, time.Duration(samples) * time.Second / time.Duration(rate), true
}

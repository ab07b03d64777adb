package recording

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// errWAV is wrapped by errors about files that are no whole WAV.
var errWAV = errors.New("not a whole WAV file")

// wav is the shape of a WAV file.
type wav struct {
	format, channels uint16
	rate             uint32 // samples a second
	byteRate         uint32
	align, bits      uint16
	data             int64 // where the samples begin
	size             int64 // of the samples, in bytes
}

func (w wav) duration() time.Duration {
	if w.byteRate == 0 {
		return 0
	}
	return time.Duration(float64(w.size) / float64(w.byteRate) * float64(time.Second))
}

// readWAV walks the chunks of a file to its samples. One that is shorter than
// it says is not whole.
func readWAV(path string) (w wav, err error) {
	f, err := os.Open(path)
	if err != nil {
		return w, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return w, err
	}
	var head [12]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return w, fmt.Errorf("%w: no RIFF/WAVE header", errWAV)
	}
	for at := int64(12); at+8 <= info.Size(); {
		var h [8]byte
		if _, err := f.ReadAt(h[:], at); err != nil {
			return w, err
		}
		size := int64(binary.LittleEndian.Uint32(h[4:]))
		switch string(h[:4]) {
		case "fmt ":
			if err := w.readFormat(f, at+8, size); err != nil {
				return w, err
			}
		case "data":
			w.data, w.size = at+8, size
			return w, w.check(info.Size())
		}
		at += 8 + size + size%2
	}
	return w, fmt.Errorf("%w: no samples", errWAV)
}

func (w *wav) readFormat(f io.ReaderAt, at, size int64) error {
	var b [16]byte
	if size < int64(len(b)) {
		return fmt.Errorf("%w: its format is cut", errWAV)
	}
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	le := binary.LittleEndian
	w.format, w.channels, w.rate = le.Uint16(b[:]), le.Uint16(b[2:]), le.Uint32(b[4:])
	w.byteRate, w.align, w.bits = le.Uint32(b[8:]), le.Uint16(b[12:]), le.Uint16(b[14:])
	return nil
}

func (w *wav) check(file int64) error {
	switch {
	case w.byteRate == 0 || w.align == 0:
		return fmt.Errorf("%w: no format before its samples", errWAV)
	case w.data+w.size > file:
		return fmt.Errorf("%w: it says %d bytes of samples and has %d", errWAV, w.size, file-w.data)
	}
	return nil
}

// Our own files: PCM, two channels, 16 bits, 8 kHz; see media.Engine's Record.
const (
	headerBytes = 44
	frameBytes  = 4
	frameRate   = 8000
)

// header is that of a file of ours with size bytes of samples.
func header(size int64) []byte {
	le := binary.LittleEndian
	h := append(make([]byte, 0, headerBytes), "RIFF"...)
	h = le.AppendUint32(h, uint32(headerBytes-8+size))
	h = append(h, "WAVEfmt "...)
	h = le.AppendUint32(h, 16)
	h = le.AppendUint16(h, 1)
	h = le.AppendUint16(h, 2)
	h = le.AppendUint32(h, frameRate)
	h = le.AppendUint32(h, frameRate*frameBytes)
	h = le.AppendUint16(h, frameBytes)
	h = le.AppendUint16(h, 16)
	h = append(h, "data"...)
	return le.AppendUint32(h, uint32(size))
}

// mend makes the header of a file of ours say how long it is, and cuts half a
// frame at its end away.
func mend(f *os.File) (time.Duration, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := max(info.Size()-headerBytes, 0) / frameBytes * frameBytes
	if _, err := f.WriteAt(header(size), 0); err != nil {
		return 0, err
	}
	return time.Duration(size/frameBytes) * time.Second / frameRate, f.Truncate(headerBytes + size)
}

func mendFile(path string) (d time.Duration, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return mend(f)
}

// cut copies a part of a file of ours to another.
func cut(path, to string, from, until time.Duration) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	offset := func(d time.Duration) int64 { return int64(d*frameRate/time.Second) * frameBytes }
	size := offset(until) - offset(from)
	if _, err := out.Write(header(size)); err != nil {
		return err
	}
	n, err := io.Copy(out, io.NewSectionReader(in, headerBytes+offset(from), size))
	if err == nil && n < size {
		err = fmt.Errorf("%w: it ends before the part that is wanted", errWAV)
	}
	return err
}

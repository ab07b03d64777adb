// Package sdp reads, answers and rewrites session descriptions (RFC 4566)
// by the rules of offer and answer (RFC 3264), for one audio stream.
//
// The model: a body is parsed into a Session of Streams. Of those, the first
// usable audio stream (RTP without encryption, port not 0) is the call's;
// every other stream is answered with port 0. What both sides agreed on is a
// Media: where to send, which codec under which payload type, and which way
// audio flows. Everything here is pure text work: no sockets and no names are
// looked up, and a body costs at most what limits.go allows.
package sdp

package crm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// maxCommands is the portal's limit for one batch.
const maxCommands = 50

// command is one method within a batch. References to earlier commands are
// values such as "$result[dc][CONTACT]"; foreign text must pass literal first.
type command struct {
	key, method string
	query       string // of params, encoded
}

func newCommand(key, method string, params url.Values) command {
	return command{key: key, method: method, query: params.Encode()}
}

// literal makes foreign text safe as a batch parameter: the portal expands
// "$result[" wherever it stands in a value.
func literal(s string) string { return strings.ReplaceAll(s, "$", "") }

// encodeBatch writes the body of a batch. The portal runs the commands in the
// order of the JSON object's keys, so no Go map may write it.
func encodeBatch(commands []command) []byte {
	var b bytes.Buffer
	b.WriteString(`{"halt":0,"cmd":{`)
	for i, c := range commands {
		if i > 0 {
			b.WriteByte(',')
		}
		writeJSON(&b, c.key)
		b.WriteByte(':')
		writeJSON(&b, c.method+"?"+c.query)
	}
	b.WriteString("}}")
	return b.Bytes()
}

// writeJSON writes s as JSON, keeping & as it is.
func writeJSON(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string into a buffer cannot fail
	b.Truncate(b.Len() - 1)
}

// batchAnswer is the result of a batch.
type batchAnswer struct {
	Results FlexObject `json:"result"`
	Errors  FlexObject `json:"result_error"`
}

// batch is the request for commands that only read.
func batch(commands []command) request {
	return request{method: "batch", body: encodeBatch(commands), repeat: true}
}

// whole sends a batch that only reads and gives its results only if every command succeeded.
func (c *Client) whole(ctx context.Context, lane Lane, commands []command) (FlexObject, error) {
	answer, err := c.send(ctx, lane, batch(commands))
	if err != nil {
		return nil, err
	}
	return c.results(commands, answer.Result)
}

// results are the results of commands; one that failed or is absent is an error
// for all of them: nothing is decided by half an answer.
func (c *Client) results(commands []command, result json.RawMessage) (FlexObject, error) {
	var b batchAnswer
	if err := decode("batch", result, &b); err != nil {
		return nil, err
	}
	for _, cmd := range commands {
		raw, failed := b.Errors[cmd.key]
		if failed {
			return nil, c.partError(cmd, raw)
		}
		if !present(b.Results[cmd.key]) {
			return nil, fmt.Errorf("%s (%s): %w: no result", cmd.method, cmd.key, errShape)
		}
	}
	return b.Results, nil
}

func (c *Client) partError(cmd command, raw json.RawMessage) error {
	var answer envelope
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("%s (%s): %w", cmd.method, cmd.key, errShape)
	}
	e := c.refusal(cmd.method, 0, answer)
	e.Command = cmd.key
	return e
}

// part is what became of one command of a batch.
type part struct {
	result json.RawMessage
	err    error
}

// run sends commands in one request, each of which may succeed or fail by
// itself. A command whose result is missing is ambiguous.
func (c *Client) run(ctx context.Context, lane Lane, as *credential, commands []command) ([]part, error) {
	if open, _ := c.breaker.state(); open {
		return nil, fmt.Errorf("batch: %w", ErrSkipped)
	}
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	answer, err := c.send(ctx, lane, request{method: "batch", body: encodeBatch(commands), as: as})
	if err != nil {
		return nil, err
	}
	var b batchAnswer
	if err := decode("batch", answer.Result, &b); err != nil {
		return nil, err
	}
	parts := make([]part, len(commands))
	for i, cmd := range commands {
		switch raw, failed := b.Errors[cmd.key]; {
		case failed:
			parts[i].err = c.partError(cmd, raw)
		case !present(b.Results[cmd.key]):
			parts[i].err = fmt.Errorf("%s (%s): %w: no result", cmd.method, cmd.key, errShape)
		default:
			parts[i].result = b.Results[cmd.key]
		}
	}
	return parts, nil
}

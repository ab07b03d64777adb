package crm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
)

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

// Replay is a call that is over before the portal hears of it, as after an
// outage. Finish.CallID is not looked at.
type Replay struct {
	Register RegisterCall
	Finish   FinishCall
}

// Replayed is what became of a Replay. Where RegisterErr is nil and FinishErr
// is not, the call is live in the portal and waits to be finished.
type Replayed struct {
	Registered  Registered
	Finished    Finished
	RegisterErr error
	FinishErr   error
}

// MaxReplays bounds the calls of one Replay: the portal takes three seconds for
// each, and gives up a request after sixty.
const MaxReplays = 10

// ReplayCalls registers and finishes calls, up to MaxReplays, in one request.
// An error is about all of them; an ambiguous one, as an ambiguous part, is
// settled by CallsByExternalID.
func (c *Client) ReplayCalls(ctx context.Context, calls []Replay) ([]Replayed, error) {
	if len(calls) == 0 || len(calls) > MaxReplays {
		return nil, fmt.Errorf("%w: %d calls at once", errRefused, len(calls))
	}
	out := make([]Replayed, len(calls))
	due := make([]int, 0, len(calls))
	for i, r := range calls {
		r.Finish.CallID = "later"
		out[i].RegisterErr, out[i].FinishErr = r.Register.check(), cmp.Or(r.Finish.check(), r.Register.check())
		if out[i].RegisterErr == nil && out[i].FinishErr == nil {
			due = append(due, i)
		}
	}
	as := c.portalFor(methodRegister)
	if err := c.replay(ctx, as, calls, due, out); err != nil {
		return nil, err
	}
	var again []int
	for _, i := range due {
		if WrongAuth(out[i].RegisterErr) && c.voices.app != nil && as != c.voices.app {
			again = append(again, i)
		}
	}
	if len(again) == 0 {
		return out, nil
	}
	c.onlyApp(methodRegister)
	c.onlyApp(methodFinish)
	return out, c.replay(ctx, c.voices.app, calls, again, out)
}

// replay sends the calls at due. A call that could not be registered cannot be
// finished by mistake either: its id is then no text.
func (c *Client) replay(ctx context.Context, as *credential, calls []Replay, due []int, out []Replayed) error {
	if len(due) == 0 {
		return nil
	}
	commands := make([]command, 0, 2*len(due))
	for _, i := range due {
		key := "r" + strconv.Itoa(i)
		finish := calls[i].Finish.params()
		delete(finish, "CALL_ID")
		params := values(finish)
		params.Set("CALL_ID", "$result["+key+"][CALL_ID]")
		commands = append(commands,
			newCommand(key, methodRegister, values(calls[i].Register.params())),
			newCommand("f"+strconv.Itoa(i), methodFinish, params))
	}
	parts, err := c.run(ctx, LaneLog, as, commands)
	if err != nil {
		return err
	}
	for n, i := range due {
		out[i].take(c, parts[2*n], parts[2*n+1])
	}
	return nil
}

func (r *Replayed) take(c *Client, register, finish part) {
	var begun registered
	if r.RegisterErr = register.err; r.RegisterErr == nil {
		r.RegisterErr = decode(methodRegister, register.result, &begun)
	}
	if r.RegisterErr == nil {
		r.Registered, r.RegisterErr = begun.read(c)
	}
	var ended statistic
	if r.FinishErr = finish.err; r.FinishErr == nil {
		r.FinishErr = decode(methodFinish, finish.result, &ended)
	}
	if r.FinishErr == nil {
		r.Finished, r.FinishErr = ended.ended(c, r.Registered.CallID)
	}
}

// values are flat parameters for a batch.
func values(params map[string]any) url.Values {
	out := make(url.Values, len(params))
	for name, v := range params {
		out.Set(name, literal(fmt.Sprint(v)))
	}
	return out
}

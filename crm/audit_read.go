package crm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"frontdesk/call"
)

// ReadCards gives all contacts, companies and leads to each, a few hundred at a
// time, and tells progress how many of how many were read. It leaves the
// portal's limits to callers first.
func (c *Client) ReadCards(ctx context.Context, progress func(done, total int), each func([]call.Card) error) error {
	total, err := c.countCards(ctx)
	if err != nil {
		return fmt.Errorf("counting the cards: %w", err)
	}
	done := 0
	progress(0, total)
	for _, s := range c.sections {
		for w := s.cards(0); !w.end; {
			cards, err := c.readPages(ctx, w)
			if err != nil {
				return fmt.Errorf("reading every %s: %w", s.kind, err)
			}
			done += len(cards)
			progress(done, max(total, done))
			if err := each(cards); err != nil {
				return err
			}
		}
	}
	return nil
}

// countCards asks each list for its total.
func (c *Client) countCards(ctx context.Context) (int, error) {
	commands := make([]command, len(c.sections))
	for i, s := range c.sections {
		commands[i] = newCommand(string(s.kind), s.method, url.Values{"select[0]": {"ID"}, "start": {"0"}})
	}
	answer, err := c.patiently(ctx, commands)
	if err != nil {
		return 0, err
	}
	var b struct {
		Totals FlexObject `json:"result_total"`
	}
	if err := decode("batch", answer.Result, &b); err != nil {
		return 0, err
	}
	total := 0
	for _, raw := range b.Totals {
		var n FlexInt
		if err := decode("batch (result_total)", raw, &n); err != nil {
			return 0, err
		}
		total += int(n)
	}
	return total, nil
}

// readPages reads the next pages of w.
func (c *Client) readPages(ctx context.Context, w *walk) ([]call.Card, error) {
	commands := w.commands()
	answer, err := c.patiently(ctx, commands)
	if errors.Is(err, errTooLarge) && w.pages > 1 {
		w.pages /= 2
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	results, err := c.results(commands, answer.Result)
	if err != nil {
		return nil, err
	}
	rows, err := w.rows(c, commands, results)
	if err != nil {
		return nil, err
	}
	cards := make([]call.Card, 0, len(rows))
	for _, raw := range rows {
		id, err := raw.id(w.section)
		if err != nil {
			return nil, err
		}
		r, err := c.row(w.section, id, raw)
		if err != nil {
			return nil, err
		}
		cards = append(cards, call.Card{Entity: r.entity, Phones: r.phones})
	}
	return cards, nil
}

// readTries are how often one batch is sent while the portal is busy.
const readTries = 4

// patiently sends commands that read, again where the portal is too busy.
func (c *Client) patiently(ctx context.Context, commands []command) (envelope, error) {
	for try := 1; ; try++ {
		asking, cancel := context.WithTimeout(ctx, batchPatience)
		answer, err := c.send(asking, LaneSync, batch(commands))
		cancel()
		if err == nil {
			_, err = c.results(commands, answer.Result)
		}
		var refused *Error
		if err == nil || try == readTries || ctx.Err() != nil || !errors.As(err, &refused) {
			return answer, err
		}
		pause := time.Duration(try) * time.Second
		switch refused.Code {
		case CodeQueryLimit:
		case CodeOperationTime:
			if until := time.Until(refused.ResetAt); until > 0 {
				pause = min(until, longPause)
			}
		default:
			return answer, err
		}
		if err := sleep(ctx, pause); err != nil {
			return envelope{}, err
		}
	}
}

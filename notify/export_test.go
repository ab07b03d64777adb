package notify

import (
	"context"
	"encoding/json"
)

// Rest is the longest time for which a receiver in trouble is left alone.
const Rest = restMost

// Work makes one try at a delivery, as the store's jobs do.
func (n *Notifier) Work(ctx context.Context, args json.RawMessage) error { return n.work(ctx, args) }

// Token is the short name of a text.
var Token = token

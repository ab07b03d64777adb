package crm

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
)

const methodDelete = "disk.file.delete"

// DeleteFiles deletes files from the portal's drive for good
// (disk.file.delete), fifty in a request; only an administrator's credential may
// do that to recordings. What is not there any more counts as deleted. failed
// tells why others are still there; with an error, whatever is in neither list
// was not tried, or may be deleted: it is safe to ask for it again.
func (c *Client) DeleteFiles(ctx context.Context, ids []int) (deleted []int, failed map[int]error, err error) {
	failed = map[int]error{}
	for len(ids) > 0 {
		n := min(len(ids), maxCommands)
		done, err := c.deleteSome(ctx, ids[:n], failed)
		deleted = append(deleted, done...)
		if err != nil {
			return deleted, failed, err
		}
		ids = ids[n:]
	}
	return deleted, failed, nil
}

func (c *Client) deleteSome(ctx context.Context, ids []int, failed map[int]error) (deleted []int, err error) {
	commands := make([]command, len(ids))
	for i, id := range ids {
		commands[i] = newCommand("f"+strconv.Itoa(i), methodDelete, url.Values{"id": {strconv.Itoa(id)}})
	}
	parts, err := c.run(ctx, LaneSync, c.voices.portal, commands)
	if err != nil {
		return nil, err
	}
	for i, p := range parts {
		var ok FlexBool
		switch {
		case gone(p.err):
			deleted = append(deleted, ids[i])
		case p.err != nil:
			failed[ids[i]] = p.err
		case decode(methodDelete, p.result, &ok) != nil || !bool(ok):
			failed[ids[i]] = fmt.Errorf("%s: %w: not deleted", methodDelete, errShape)
		default:
			deleted = append(deleted, ids[i])
		}
	}
	return deleted, nil
}

package crm

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"frontdesk/call"
)

// Activity is a call as an entry in the timeline of an entity: what is left
// where the methods of telephony refuse. It enters no statistics, has no card
// and counts as nobody's missed call.
type Activity struct {
	Owner       EntityID
	Number      call.Number
	Direction   call.Direction
	Subject     string
	Text        string
	Started     time.Time
	Ended       time.Time
	Responsible int
	Open        bool   // still to be dealt with, as a missed call is
	Origin      string // unique: FindActivity finds it by this
	Recordings  []Recording
}

// ownerTypes are the portal's numbers of kinds.
var ownerTypes = map[call.Kind]int{call.KindLead: 1, "deal": 2, call.KindContact: 3, call.KindCompany: 4}

const methodActivity = "crm.activity.add"

// AddActivity writes a call into a timeline, as an author (crm.activity.add).
// It is not idempotent: after an ambiguous failure FindActivity tells whether it
// was done. All recordings together must be below 32 MB.
func (c *Client) AddActivity(ctx context.Context, author int, a Activity) (Written, error) {
	kind, ok := ownerTypes[a.Owner.Kind]
	if !ok || a.Owner.ID <= 0 {
		return Written{}, fmt.Errorf("%s: %w: no owner", methodActivity, errRefused)
	}
	files, err := a.files()
	if err != nil {
		return Written{}, fmt.Errorf("%s: %w", methodActivity, err)
	}
	fields := map[string]any{
		"OWNER_TYPE_ID": kind, "OWNER_ID": a.Owner.ID, "TYPE_ID": 2, "SUBJECT": a.Subject, "DIRECTION": 1, "COMPLETED": "Y",
		"START_TIME": a.Started.Format(time.RFC3339), "END_TIME": a.Ended.Format(time.RFC3339),
		"RESPONSIBLE_ID": a.Responsible, "PRIORITY": 2, "DESCRIPTION": a.Text, "DESCRIPTION_TYPE": 1,
		"COMMUNICATIONS": []any{map[string]any{
			"TYPE": "PHONE", "VALUE": string(a.Number), "ENTITY_TYPE_ID": kind, "ENTITY_ID": a.Owner.ID,
		}},
	}
	if a.Direction == call.Out {
		fields["DIRECTION"] = 2
	}
	if a.Open {
		fields["COMPLETED"] = "N"
	}
	if a.Origin != "" {
		fields["ORIGINATOR_ID"], fields["ORIGIN_ID"] = originator, a.Origin
	}
	if len(files) > 0 {
		fields["FILES"] = files
	}
	return c.make(ctx, author, methodActivity, map[string]any{"fields": fields})
}

// files are the recordings as the portal wants them in a field.
func (a Activity) files() ([]any, error) {
	var out []any
	var sum int64
	for _, r := range a.Recordings {
		if err := r.check(); err != nil {
			return nil, err
		}
		if sum += r.Size; sum > activityMost {
			return nil, fmt.Errorf("%w: the recordings are too large for an activity", errRefused)
		}
	}
	for _, r := range a.Recordings {
		data, err := r.content()
		if err != nil {
			return nil, err
		}
		out = append(out, map[string]any{"fileData": []string{r.Name, base64.StdEncoding.EncodeToString(data)}})
	}
	return out, nil
}

// FindActivity finds the activity with an origin; of several, the first.
func (c *Client) FindActivity(ctx context.Context, origin string) (id int, found bool, err error) {
	rows, err := c.byOrigin(ctx, "crm.activity.list", origin)
	if err != nil || len(rows) == 0 {
		return 0, false, err
	}
	return whole(rows[0]["ID"]), true, nil
}

// DescribeActivity replaces the text of an activity, as an author
// (crm.activity.update): where a recording is a link, it stands there. It may be
// repeated. found is false where the activity was deleted.
func (c *Client) DescribeActivity(ctx context.Context, author, id int, text string) (found bool, by Authored, err error) {
	var ok FlexBool
	by, err = c.As(author).write(ctx, LaneLog, "crm.activity.update", map[string]any{
		"id": id, "fields": map[string]any{"DESCRIPTION": text, "DESCRIPTION_TYPE": 1},
	}, &ok)
	if gone(err) || says(err, "activity is not found") {
		return false, by, nil
	}
	if err == nil && !ok {
		err = fmt.Errorf("crm.activity.update: %w: not updated", errShape)
	}
	return err == nil, by, err
}

// Task is work for an employee.
type Task struct {
	Title       string
	Text        string
	Responsible int
	Deadline    time.Time // zero: none
	Entity      EntityID  // shown with the task; zero: none
	Origin      string    // unique: FindTask finds it by this
}

// taskPrefixes are the portal's letters for kinds in the field UF_CRM_TASK.
var taskPrefixes = map[call.Kind]string{call.KindLead: "L_", call.KindContact: "C_", call.KindCompany: "CO_", "deal": "D_"}

func (e EntityID) binding() string { return fmt.Sprintf("%s%d", taskPrefixes[e.Kind], e.ID) }

// AddTask makes a task, as an author (tasks.task.add, scope task). It is not
// idempotent: after an ambiguous failure FindTask tells whether it was done.
func (c *Client) AddTask(ctx context.Context, author int, t Task) (Written, error) {
	fields := map[string]any{"TITLE": t.Title, "DESCRIPTION": t.Text, "RESPONSIBLE_ID": t.Responsible, "XML_ID": t.tag()}
	if !t.Deadline.IsZero() {
		fields["DEADLINE"] = t.Deadline.Format(time.RFC3339)
	}
	if t.Entity.ID > 0 {
		fields["UF_CRM_TASK"] = []string{t.Entity.binding()}
	}
	var out struct {
		Task struct {
			ID json.RawMessage `json:"id"`
		} `json:"task"`
	}
	by, err := c.As(author).write(ctx, LaneLog, "tasks.task.add", map[string]any{"fields": fields}, &out)
	w := Written{ID: whole(out.Task.ID), Authored: by}
	if err == nil && w.ID <= 0 {
		err = fmt.Errorf("tasks.task.add: %w: %w", errShape, errNoID)
	}
	return w, err
}

func (t Task) tag() string { return originator + ":" + t.Origin }

// taskPages bounds the search for a task: those of one entity, or of one
// employee since the call.
const taskPages = 10

// FindTask finds a task by its origin among those of its entity, or of its
// employee, that were made since a time. The portal cannot search by origin.
func (c *Client) FindTask(ctx context.Context, t Task, since time.Time) (id int, found bool, err error) {
	const method = "tasks.task.list"
	if t.Origin == "" {
		return 0, false, fmt.Errorf("%s: %w: no origin", method, errRefused)
	}
	filter := map[string]any{">=CREATED_DATE": since.Add(-time.Minute).Format(time.RFC3339)}
	if t.Entity.ID > 0 {
		filter["UF_CRM_TASK"] = t.Entity.binding()
	} else {
		filter["RESPONSIBLE_ID"] = t.Responsible
	}
	for start := range taskPages {
		var out struct {
			Tasks []struct {
				ID  json.RawMessage `json:"id"`
				XML json.RawMessage `json:"xmlId"`
			} `json:"tasks"`
		}
		err := c.serve(ctx, LaneLog, method, map[string]any{
			"filter": filter, "select": []string{"ID", "XML_ID"}, "order": map[string]any{"ID": "desc"}, "start": start * pageRows,
		}, &out)
		if err != nil {
			return 0, false, err
		}
		for _, row := range out.Tasks {
			if word(row.XML) == t.tag() {
				return whole(row.ID), true, nil
			}
		}
		if len(out.Tasks) < pageRows {
			return 0, false, nil
		}
	}
	return 0, false, fmt.Errorf("%s: %w: too many tasks to look through", method, errRefused)
}

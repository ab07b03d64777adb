package crmtest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// statistic is the row of a finished call.
func (c *Call) statistic() map[string]any {
	status := 0
	if c.Duration > 0 {
		status = 1
	}
	out := map[string]any{
		"ID": strconv.Itoa(c.Row), "CALL_ID": c.ID, "EXTERNAL_CALL_ID": c.ExternalID, "PORTAL_USER_ID": strconv.Itoa(c.FinishedBy),
		"PHONE_NUMBER": c.Number, "PORTAL_NUMBER": c.Line, "INCOMING": strconv.Itoa(c.Type), "CALL_TYPE": strconv.Itoa(c.Type),
		"CALL_DURATION": strconv.Itoa(c.Duration), "CALL_START_DATE": c.Started.Format(time.RFC3339), "CALL_STATUS": status,
		"CALL_FAILED_CODE": c.Status, "CALL_FAILED_REASON": c.Reason, "CRM_ACTIVITY_ID": nil, "CRM_ENTITY_TYPE": nil, "CRM_ENTITY_ID": nil,
		"RECORD_FILE_ID": nil, "COST": 0, "COST_CURRENCY": "", "COMMENT": nil,
	}
	if c.Activity != 0 {
		out["CRM_ACTIVITY_ID"] = c.Activity
	}
	if c.EntityID != 0 {
		out["CRM_ENTITY_TYPE"], out["CRM_ENTITY_ID"] = strings.ToUpper(string(c.Entity)), c.EntityID
	}
	if c.RecordID != 0 {
		out["RECORD_FILE_ID"] = strconv.Itoa(c.RecordID)
	}
	return out
}

// exact is the one text that a field must have; "": there is none.
func (l listing) exact(field string) string {
	for _, c := range l.conditions {
		if _, many := elements(c.want); c.field == field && !many {
			return str(c.want)
		}
	}
	return ""
}

func statistics(p *Portal, c invocation) (answer, *Failure) {
	l := c.listing()
	all := slices.SortedFunc(maps.Values(p.calls.finished), func(a, b *Call) int { return a.Row - b.Row })
	rows := slices.DeleteFunc(all, func(call *Call) bool {
		if id := l.exact("EXTERNAL_CALL_ID"); id != "" && id != call.ExternalID {
			return true // most, without making their rows
		}
		row := call.statistic()
		return slices.ContainsFunc(l.conditions, func(c condition) bool {
			if wants, many := elements(c.want); many {
				return !slices.ContainsFunc(wants, func(w any) bool { return str(row[c.field]) == str(w) })
			}
			return str(row[c.field]) != str(c.want)
		})
	})
	return page(l, rows, func(c *Call) any { return c.statistic() }), nil
}

// searchEntities gives contacts, leads and companies with who is responsible.
func searchEntities(p *Portal, c invocation) (answer, *Failure) {
	number := c.text("PHONE_NUMBER")
	if number == "" {
		return answer{}, core("PHONE_NUMBER is empty")
	}
	out := []any{}
	for _, k := range []call.Kind{call.KindContact, call.KindLead, call.KindCompany} {
		for _, id := range p.carriers(k, map[string]bool{normalise(number): true}) {
			e := p.entities[k][num(id)]
			u := p.users[num(e.fields["ASSIGNED_BY_ID"])]
			name := strings.TrimSpace(str(e.fields["NAME"]) + " " + str(e.fields["LAST_NAME"]))
			if name == "" {
				name = str(e.fields["TITLE"])
			}
			out = append(out, map[string]any{
				"CRM_ENTITY_TYPE": strings.ToUpper(string(k)), "CRM_ENTITY_ID": id, "ASSIGNED_BY_ID": u.ID, "NAME": name,
				"ASSIGNED_BY": map[string]any{
					"ID": strconv.Itoa(u.ID), "TIMEMAN_STATUS": "OPENED", "USER_PHONE_INNER": u.Extension,
					"WORK_PHONE": nil, "PERSONAL_PHONE": nil, "PERSONAL_MOBILE": u.Mobile,
				},
			})
		}
	}
	return answer{result: out}, nil
}

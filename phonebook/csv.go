package phonebook

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"frontdesk/call"
)

// columns are those of 3CX's import of contacts, with the fields that fill
// them. Fields that are none stay empty.
func columns() (names []string, fields []Field) {
	const none = fieldCount
	for _, c := range []struct {
		name  string
		field Field
	}{
		{"Name", FirstName}, {"Last Name", LastName}, {"Company", CompanyName}, {"Mobile", PhoneNumber}, {"Mobile2", Mobile2},
		{"Home", Home}, {"Home 2", none}, {"Business", Business}, {"Business2", Business2}, {"e-mail", Email}, {"Other", Other},
		{"Business Fax", BusinessFax}, {"Home Fax", none}, {"Pager", Pager},
	} {
		names, fields = append(names, c.name), append(fields, c.field)
	}
	return names, fields
}

// WriteCSV writes the address book in the form that 3CX's console imports, for
// PBXs without the interface, and is how many contacts it wrote. Texts that a
// spreadsheet would take for formulas begin with an apostrophe.
func WriteCSV(ctx context.Context, w io.Writer, source Source, show func(Progress)) (contacts int, err error) {
	names, fields := columns()
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(names); err != nil {
		return 0, err
	}
	entities := 0
	err = source.Addresses(ctx, func(a call.Address) error {
		entries, _ := Entries(a)
		for _, e := range entries {
			row := make([]string, len(fields))
			for i, f := range fields {
				if f < fieldCount {
					row[i] = harmless(e.Values[f])
				}
			}
			if err := out.Write(row); err != nil {
				return err
			}
			contacts++
		}
		entities++
		show(Progress{Stage: StageCRM, Done: entities})
		return nil
	})
	if err != nil {
		return contacts, fmt.Errorf("reading the CRM: %w", err)
	}
	out.Flush()
	return contacts, out.Error()
}

// harmless is s where no spreadsheet runs it. A number in E.164 form is one.
func harmless(s string) string {
	number := len(s) > 1 && s[0] == '+' && strings.Trim(s[1:], "0123456789") == ""
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) && !number {
		return "'" + s
	}
	return s
}

package staff

import (
	"fmt"
	"strings"
	"text/template"
	"time"

	"frontdesk/call"
)

// The mails about the end of a temporary manager's time: subject on the first
// line, then the text.
const (
	russian = `{{define "deputy"}}Замещение закончилось: {{.Client}}
Здравствуйте{{with .Deputy.Name}}, {{.}}{{end}}!

Вы временно принимали звонки клиента «{{.Client}}» ({{.Kind}} {{.ID}}).
Срок истёк {{.Until}}.

{{if .Same}}Звонки этого клиента и дальше поступают вам: вы его {{.Role}}.
{{- else if .Successor.Name}}Теперь звонки этого клиента принимает {{.Successor.Name}}{{with .Successor.Extension}}, внутренний номер {{.}}{{end}} ({{.Role}}).
{{- else}}Постоянный сотрудник у клиента не указан, звонки идут по общим правилам.{{end}}
Поля временного менеджера в карточке очищены.
{{end}}{{define "successor"}}Звонки снова поступают вам: {{.Client}}
Здравствуйте{{with .Successor.Name}}, {{.}}{{end}}!

Срок временного менеджера клиента «{{.Client}}» ({{.Kind}} {{.ID}}) истёк {{.Until}}.
Замещал: {{with .Deputy.Name}}{{.}}{{else}}не указано{{end}}.

Звонки этого клиента снова поступают вам: вы его {{.Role}}.
Поля временного менеджера в карточке очищены.
{{end}}`

	english = `{{define "deputy"}}Your cover has ended: {{.Client}}
Hello{{with .Deputy.Name}} {{.}}{{end}},

You took the calls of {{.Client}} ({{.Kind}} {{.ID}}) for a time, which ended {{.Until}}.

{{if .Same}}The calls of this client keep coming to you: you are the {{.Role}}.
{{- else if .Successor.Name}}From now on {{.Successor.Name}}{{with .Successor.Extension}}, extension {{.}},{{end}} takes the calls of this client ({{.Role}}).
{{- else}}The client has no permanent employee, calls follow the general rules.{{end}}
The fields of the temporary manager on the card are empty again.
{{end}}{{define "successor"}}Calls come to you again: {{.Client}}
Hello{{with .Successor.Name}} {{.}}{{end}},

The temporary manager's time for {{.Client}} ({{.Kind}} {{.ID}}) ended {{.Until}}.
The temporary manager was {{with .Deputy.Name}}{{.}}{{else}}not set{{end}}.

The calls of this client come to you again: you are the {{.Role}}.
The fields of the temporary manager on the card are empty again.
{{end}}`
)

// words are what a language calls things.
var words = map[bool]map[string]string{
	true: {
		"contact": "контакт", "company": "компания", "lead": "лид",
		roleManager: "менеджер по звонкам", roleResponsible: "ответственный",
	},
	false: {
		"contact": "contact", "company": "company", "lead": "lead",
		roleManager: "call manager", roleResponsible: "responsible person",
	},
}

// letters writes the mails in one language.
type letters struct {
	russian   bool
	zone      *time.Location
	templates *template.Template
}

// newLetters takes a language tag as the greeting's, ru-RU: Russian for any
// Russian, else English.
func newLetters(language string, zone *time.Location) (letters, error) {
	l := letters{zone: zone}
	text := english
	tag := strings.ToLower(language)
	if l.russian = tag == "ru" || strings.HasPrefix(tag, "ru-") || strings.HasPrefix(tag, "ru_"); l.russian {
		text = russian
	}
	var err error
	l.templates, err = template.New("mail").Option("missingkey=error").Parse(text)
	return l, err
}

// person is an employee in a mail.
type person struct {
	Name      string
	Extension call.Extension
}

func personOf(e call.Employee) person {
	return person{Name: oneLine(e.FirstName + " " + e.LastName), Extension: e.Extension}
}

// news is what a mail tells.
type news struct {
	Client            string
	Kind              string
	ID                int
	Until             string
	Deputy, Successor person
	Role              string
	Same              bool // the temporary manager and the successor are one
}

// write makes the mail to the deputy or the successor.
func (l letters) write(to string, d *deed, deputy, successor call.Employee) (subject, body string, err error) {
	w := words[l.russian]
	n := news{
		Client: oneLine(d.Name), Kind: w[string(d.Kind)], ID: d.ID,
		Until:  d.Until.In(l.zone).Format("02.01.2006 15:04 MST"),
		Deputy: personOf(deputy), Successor: personOf(successor),
		Role: w[d.Role], Same: d.Successor != 0 && d.Successor == d.Deputy,
	}
	if n.Client == "" {
		n.Client = fmt.Sprintf("%s %d", n.Kind, n.ID)
	}
	var b strings.Builder
	if err := l.templates.ExecuteTemplate(&b, to, n); err != nil {
		return "", "", fmt.Errorf("writing the mail: %w", err)
	}
	subject, body, _ = strings.Cut(b.String(), "\n")
	return subject, body, nil
}

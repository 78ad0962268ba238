package collector

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"xunjian/configs"
	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/contract"
)

// unspaced is a text without the white space that tables of a document bring along.
func unspaced(s string) string { return strings.Join(strings.Fields(s), "") }

// The contract that comes with the program is the service requirement's: every text stands in it as it is here, every
// number is the one of its text, and nothing of the form is missing.
func TestShippedContract(t *testing.T) {
	b, err := os.ReadFile("testdata/service-requirement.txt")
	if err != nil {
		t.Fatal(err)
	}
	source := unspaced(string(b))
	c, err := config.Parse("contract.yaml", configs.Contract, contract.Contract{})
	if err != nil {
		t.Fatal(err)
	}
	says := func(texts ...string) {
		t.Helper()
		if s := unspaced(strings.Join(texts, "")); s == "" || !strings.Contains(source, s) {
			t.Errorf("the service requirement does not say %q", s)
		}
	}
	for _, l := range contract.Levels {
		w := c.Wording.Of(l)
		says(w.Name, w.Features, w.Respond, w.Recover) // a row of the table
	}
	says(c.Support.OnSite)
	says(c.Support.Remote)
	for _, r := range c.Assessment.Rows {
		says(r.Text)
		says(r.Name)
	}
	form := c.Assessment.Rows
	says(form[0].No, form[0].Name, form[0].Points.String(), form[0].Text)
	says(form[1].No, form[1].Name, form[1].Points.String(), form[1].Text)
	says(form[2].No, form[2].Name, (form[2].Points + form[3].Points + form[4].Points).String(), form[2].Text, form[3].Text, form[4].Text)
	for _, r := range form[5:] {
		says(r.No, r.Name, r.Points.String(), r.Text)
	}
	says(form[8].Text, "合计100100") // no row is missing
	for _, r := range form[2:5] {
		says("（满分" + r.Points.String() + "分）")
	}
	d := c.Assessment.Deductions
	says("紧急故障扣", d.Urgent.String(), "分，一般故障扣", d.General.String(), "分，轻微故障扣", d.Minor.String(), "分。扣完为止。")
	tier := func(i int, top string) string {
		x := c.Assessment.Tiers[i]
		return "考核分数" + x.From.String() + "-" + top + "分（含" + x.From.String() + "分），支付" + strconv.Itoa(x.Pay) + "%合同款；"
	}
	last := c.Assessment.Tiers[2].From.String()
	says(tier(0, "100"), tier(1, "89"), tier(2, "79"), "考核分数低于", last, "分的视为验收不合格，乙方赔付甲方", strconv.Itoa(c.Payment.Penalty), "%合同款的违约金。")
	says(strconv.Itoa(c.Payment.Within), "个工作日内，支付合同总金额的", strconv.Itoa(c.Payment.Advance), ".00%作为预付款")
	says(strconv.Itoa(int(c.Requests.Reply.Hours())), "小时内响应，并给予处理反馈意见及处理办法")
	says(strconv.Itoa(int(c.Urgent.Respond.Minutes())), "分钟", strconv.Itoa(int(c.Urgent.Recover.Hours())), "小时内")
	says("半小时内", strconv.Itoa(int(c.General.Recover.Hours())), "小时内（")
	if c.General.Respond != time.Hour/2 || c.Minor != (contract.Limits{}) {
		t.Errorf("general %v, minor %v", c.General, c.Minor)
	}
	if c.Terms != contract.DefaultTerms() {
		t.Errorf("the terms of the file differ from those of the program:\n%+v\n%+v", c.Terms, contract.DefaultTerms())
	}
}

// Keys of the configuration win over the file that it names, and that over what comes with the program.
func TestContractInLayers(t *testing.T) {
	dir := folder(t, map[string]string{
		"collector.yml": `contract_file: ours.yaml
contract: {urgent: {respond: 5m}, outage: {sms: general}, calendar_folder: days}
services: [{name: sms, key: true}, {name: oa}]
checks:
- {name: sms, service: sms, kind: tcp, target: 'sms:1', levels: {wrong: minor}}
- {name: oa, service: oa, kind: tcp, target: 'oa:1'}
`,
		"ours.yaml":      "title: 我方合同\nurgent: {respond: 8m, recover: 3h}\ngeneral_in_office: true\noffice: {hours: [09:00-17:00]}\n",
		"days/2027.json": `{"year":2027,"days":[{"name":"元旦","date":"2027-01-01","isOffDay":true}]}`,
	})
	c, err := LoadConfig(filepath.Join(dir, "collector.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Contract.Title != "我方合同" || c.Contract.Urgent != (contract.Limits{Respond: 5 * time.Minute, Recover: 3 * time.Hour}) || c.Contract.General.Recover != 8*time.Hour {
		t.Errorf("contract %+v", c.Contract.Terms)
	}
	if c.Report.Office.Hours[0] != "09:00-17:00" || len(c.Contract.Assessment.Rows) != 9 {
		t.Errorf("office %v, %d rows", c.Report.Office, len(c.Contract.Assessment.Rows))
	}
	if l := c.Checks[0].Levels; l[check.Down] != "general" || l[check.Unusable] != "general" || l[check.Wrong] != "minor" || c.Checks[1].Levels != nil {
		t.Errorf("levels %v, %v", l, c.Checks[1].Levels)
	}
	settings, err := c.desk()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	working := settings.Working(now)
	if work, known := working.Workday(now.AddDate(0, 0, 1)); work || !known || !settings.Terms.GeneralInOffice || working.Office.Hours[0] != "09:00-17:00" {
		t.Errorf("an incident keeps %+v", working)
	}
}

// A broken notice stops a start and a reload before anything is touched, naming the file.
func TestBadNotice(t *testing.T) {
	dir := folder(t, map[string]string{
		"collector.yml":  "contract: {calendar_folder: days}\nservices: []\nchecks: []\n",
		"days/2027.json": `{"year":2027,"days":[{"date":"2031-01-01","isOffDay":true}]}`,
	})
	err := Check(filepath.Join(dir, "collector.yml"))
	if err == nil || !regexp.MustCompile(`2027\.json.*2031-01-01`).MatchString(err.Error()) {
		t.Errorf("told: %v", err)
	}
}

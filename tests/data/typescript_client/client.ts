// List, get, upload, export, and create a webhook with the generated types, and print what the API returns.
import { createHash } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Receipt = components["schemas"]["Receipt"];
type Export = components["schemas"]["Export"];
type JsonReport = paths["/v1/runs/{run_id}/report"]["post"]["requestBody"]["content"]["application/json"];
type ExportFile =
  paths["/v1/results/export/{id}/file"]["get"]["responses"]["200"]["content"]["application/octet-stream"];
type Outcome<T> = { data?: T | undefined; error?: unknown; response: Response };

const [baseUrl = "", key = ""] = process.argv.slice(2);
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
const asIs = <T>(body: T): T => body;

function dataOf<T>({ data, error, response }: Outcome<T>): T {
  if (data === undefined) throw new Error(`${response.url}: ${response.status} ${JSON.stringify(error)}`);
  return data;
}

async function listAll(): Promise<components["schemas"]["Result"][]> {
  const status: components["schemas"]["Result"]["status"][] = ["passed", "failed"];
  const found = [];
  let query: NonNullable<paths["/v1/results"]["get"]["parameters"]["query"]> = { limit: 1, status };
  for (;;) {
    const page = dataOf(await api.GET("/v1/results", { params: { query } }));
    found.push(...page.data);
    if (page.next_cursor === null) return found;
    query = { ...query, starting_after: page.next_cursor };
  }
}

function formOf(report: Blob): FormData {
  const form = new FormData();
  form.append("report", report, "report.xml");
  return form;
}

async function uploadReports(xml: Blob): Promise<Receipt[]> {
  const url = "/v1/runs/{run_id}/report";
  const run = (run_id: string) => ({ path: { run_id }, query: { project_id: "shop", labels: ["team:a", "zone:b"] } });
  const file = await api.POST(url, {
    params: run("from_file"), body: xml, bodySerializer: asIs, headers: { "Content-Type": "application/xml" },
  });
  const form = await api.POST(url, {
    params: run("from_form"), body: { report: [xml] }, bodySerializer: () => formOf(xml),
  });
  const report: JsonReport = { results: [{ name: "pays", status: "passed" }] };
  const object = await api.POST(url, { params: run("from_object"), body: report });
  return [dataOf(file), dataOf(form), dataOf(object)];
}

async function finishedReceipt({ id }: Receipt): Promise<Receipt> {
  for (;;) {
    const receipt = dataOf(await api.GET("/v1/receipts/{id}", { params: { path: { id }, query: { wait: 20 } } }));
    if (receipt.status !== "queued" && receipt.status !== "processing") return receipt;
  }
}

async function finishedExport(): Promise<Export> {
  const { id } = dataOf(await api.POST("/v1/results/export", { body: { format: "csv", columns: ["name", "status"] } }));
  for (;;) {
    const job = dataOf(await api.GET("/v1/results/export/{id}", { params: { path: { id } } }));
    if (job.status !== "queued" && job.status !== "running") return job;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function download({ id }: Export): Promise<Uint8Array> {
  const params = { path: { id } };
  const file: ExportFile = dataOf(await api.GET("/v1/results/export/{id}/file", { params, parseAs: "blob" }));
  return new Uint8Array(await file.arrayBuffer());
}

const listed = await listAll();
const id = listed[0]?.id ?? "";
const result = dataOf(await api.GET("/v1/results/{id}", { params: { path: { id } } }));
const artifact = dataOf(
  await api.PUT("/v1/results/{id}/artifacts/{name}", {
    params: { path: { id, name: "log.txt" } }, body: new Blob(["text"]), bodySerializer: asIs,
    headers: { "Content-Type": "application/octet-stream" },
  }),
);
const xml = new Blob(['<testsuite name="shop"><testcase name="pays" classname="shop"/></testsuite>']);
const receipts = await Promise.all((await uploadReports(xml)).map(finishedReceipt));
const job = await finishedExport();
const file = await download(job);
const webhook = dataOf(
  await api.POST("/v1/webhooks", { body: { url: "https://ci.example/hook", events: ["run.completed"] } }),
);
const { error } = await api.GET("/v1/runs/{run_id}", { params: { path: { run_id: "missing" } } });

// @ts-expect-error The types list the formats.
const unknownFormat: Export["format"] = "xlsx";
// @ts-expect-error The types require the project of a report.
const withoutProject: paths["/v1/runs/{run_id}/report"]["post"]["parameters"]["query"] = {};

console.log(
  JSON.stringify({
    listed: listed.map(({ name }) => name),
    result: { name: result.name, run: result.run.run_id, attempts: result.attempt_details.map(({ status }) => status) },
    artifact: artifact.size,
    receipts: receipts.map(({ status, run_id, results }) => [status, run_id, results]),
    export: { status: job.status, rows: job.rows, text: new TextDecoder().decode(file) },
    same_file: createHash("sha256").update(file).digest("hex") === job.sha256,
    webhook: { events: webhook.events, secret: webhook.secret },
    error: error?.error,
  }),
);

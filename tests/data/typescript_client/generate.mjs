// Write the types of openapi.json to api.ts. Files are Blobs, as the documentation of openapi-typescript recommends.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const blob = ts.factory.createTypeReferenceNode("Blob");
const document = JSON.parse(await readFile("openapi.json", "utf8"));
const types = await openapiTS(document, {
  defaultNonNullable: false, // fields with a default are optional in requests
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
await writeFile("api.ts", astToString(types));

// Reads {"asyncapi": document, "schemas": {topic: schema}, "values": [[topic, value], …]} from standard input, and
// prints a JSON list of all problems.
const Ajv = require("ajv");
const Ajv2020 = require("ajv/dist/2020");
const formats = require("ajv-formats");
const specs = require("@asyncapi/specs");

const { asyncapi, schemas, values } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const problems = [];

function check(validate, value, where) {
  if (!validate(value)) {
    for (const error of validate.errors) problems.push(`${where}${error.instancePath}: ${error.message}`);
  }
}

const draft7 = formats(new Ajv({ strict: false, logger: false }));
const specification = specs.schemas[asyncapi.asyncapi];
delete specification.definitions["http://json-schema.org/draft-07/schema"]; // ajv has it already
check(draft7.compile(specification), asyncapi, "asyncapi");

const draft2020 = formats(new Ajv2020({ allErrors: true, allowUnionTypes: true }));
const validators = Object.fromEntries(
  Object.entries(schemas).map(([topic, schema]) => [topic, draft2020.compile(schema)]),
);
for (const [topic, value] of values) check(validators[topic], value, topic);

// Also validate against the payloads in the document itself, which some tools read alone.
draft7.addSchema({ $id: "document", components: asyncapi.components });
for (const [name, message] of Object.entries(asyncapi.components.messages)) {
  const payload = draft7.compile({ $ref: `document${message.payload.$ref}` });
  for (const example of message.examples) check(payload, example.payload, `example of ${name}`);
  for (const [topic, value] of values) if (topic === name) check(payload, value, `payload of ${name}`);
}
console.log(JSON.stringify(problems));

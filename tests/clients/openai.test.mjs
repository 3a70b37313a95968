// The SDK for Node against Firstlight: the main cases of the Python tests, in the other SDK most in use.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { AzureOpenAI, toFile } from 'openai';

const { FIRSTLIGHT_URL, FIRSTLIGHT_KEY, FIRSTLIGHT_RESTRICTED_KEY, MOCK_BACKEND, MOCK_CONTROL, MOCK_KEY } =
  process.env;

// How long anything is waited for. Far above what it takes, since only a failure waits so long.
const WAIT_MS = 20_000;

const ASK = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Say something.' }] };

// Every token of the mock says its number: a lost, doubled or misplaced one is seen.
const WHOLE_ANSWER = Array.from({ length: 12 }, (_, index) => `w${index} `).join('');

const TOOL = {
  type: 'function',
  function: { name: 'note', parameters: { type: 'object', properties: { text: { type: 'string' } } } },
};

// The two ways to reach Azure OpenAI. The SDK's own retries would hide what one request comes to.
const OPTIONS = { apiKey: FIRSTLIGHT_KEY, maxRetries: 0, timeout: WAIT_MS };
const FORMS = {
  azure: (options) =>
    new AzureOpenAI({ endpoint: FIRSTLIGHT_URL, apiVersion: '2024-10-21', ...OPTIONS, ...options }),
  v1: (options) => new OpenAI({ baseURL: `${FIRSTLIGHT_URL}/openai/v1`, ...OPTIONS, ...options }),
};

async function control(method, path, body) {
  const answer = await fetch(MOCK_CONTROL + path, { method, body: body && JSON.stringify(body) });
  assert.equal(answer.status, 200, `${method} ${path}: ${await answer.clone().text()}`);
  return answer.json();
}

async function count(counter) {
  const backends = await control('GET', '/backends');
  return backends.reduce((sum, backend) => sum + backend.counters[counter], 0);
}

// Something is wrong with these regions while `during` runs.
async function withFault(fault, regions, during) {
  const all = (await control('GET', '/backends')).map((backend) => backend.name);
  try {
    for (const name of regions ?? all) await control('PUT', `/backends/${name}/fault`, { fault });
    return await during();
  } finally {
    for (const name of all) await control('DELETE', `/backends/${name}/fault`);
  }
}

// Waits for a state, not for a time.
async function waitUntil(what, reached) {
  const deadline = Date.now() + WAIT_MS;
  while (!(await reached())) {
    assert.ok(Date.now() < deadline, `${what} did not happen within ${WAIT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function textOf(stream) {
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  return text;
}

let lastFresh = 0;

// A test in both forms, with a model of its own that no other test has taught Firstlight anything about.
function testBoth(title, body) {
  for (const [form, makeClient] of Object.entries(FORMS)) {
    const model = `fresh-${lastFresh++}`;
    test(`${title} (${form})`, async () => {
      await control('POST', '/reset');
      await body(makeClient, { ...ASK, model });
      // Nothing is left running upstream: it would be paid for, and be counted by the next test.
      await waitUntil('the end of all upstream requests', async () => (await count('in_flight')) === 0);
    });
  }
}

testBoth('chat', async (makeClient) => {
  const answer = await makeClient().chat.completions.create(ASK);
  assert.equal(answer.choices[0].message.content, WHOLE_ANSWER);
  assert.equal(answer.usage.completion_tokens, 12);
  assert.ok(answer._request_id);
});

testBoth('streamed chat with usage', async (makeClient) => {
  const stream = await makeClient().chat.completions.create({
    ...ASK,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), WHOLE_ANSWER);
  assert.ok(chunks[0].prompt_filter_results);
  assert.equal(chunks.at(-1).usage.completion_tokens, 12);
});

testBoth('streamed tool call', async (makeClient) => {
  const stream = makeClient().chat.completions.stream({ ...ASK, tools: [TOOL], tool_choice: 'required' });
  const [call] = (await stream.finalMessage()).tool_calls;
  assert.equal(call.function.name, 'note');
  assert.match(JSON.parse(call.function.arguments).text, /^w1 /);
});

testBoth('embeddings', async (makeClient) => {
  // Unless told otherwise the SDK asks for base64 and decodes it.
  const answer = await makeClient().embeddings.create({ model: 'text-embedding-3-small', input: ['one', 'two'] });
  assert.deepEqual(answer.data.map((item) => item.embedding.slice(0, 3)), Array(2).fill([0.125, -0.25, 0.5]));
});

testBoth('many streams at once', async (makeClient) => {
  const client = makeClient();
  const one = async () => textOf(await client.chat.completions.create({ ...ASK, stream: true }));
  const texts = await Promise.all(Array.from({ length: 20 }, one));
  assert.deepEqual(texts, Array(20).fill(WHOLE_ANSWER));
  assert.equal(await count('completed'), 20);
});

testBoth('the key of the client never reaches a backend', async (makeClient) => {
  await makeClient().chat.completions.create(ASK);
  const names = (await control('GET', '/backends')).map((backend) => backend.name);
  const recorded = await Promise.all(names.map((name) => control('GET', `/backends/${name}/requests`)));
  const [request, ...others] = recorded.flat();
  assert.equal(others.length, 0);
  const headers = Object.fromEntries(request.headers);
  assert.ok(!JSON.stringify(request).includes(FIRSTLIGHT_KEY));
  assert.equal(headers['api-key'], MOCK_KEY);
  assert.equal(headers.authorization, undefined);
});

testBoth('refusals are the exceptions of the SDK', async (makeClient) => {
  const refused = (options, changes) => makeClient(options).chat.completions.create({ ...ASK, ...changes });
  const check = async (request, kind, code) =>
    assert.rejects(request, (error) => {
      assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.code, code);
      return true;
    });
  await check(refused({}, { model: 'gpt-99' }), OpenAI.NotFoundError, 'DeploymentNotFound');
  await check(refused({ apiKey: 'not-the-key' }, {}), OpenAI.AuthenticationError, 'invalid_api_key');
  const restricted = { apiKey: FIRSTLIGHT_RESTRICTED_KEY };
  await check(refused(restricted, { model: 'gpt-4o-mini' }), OpenAI.PermissionDeniedError, 'model_forbidden');
  const filtered = { messages: [{ role: 'user', content: 'trigger content filter' }] };
  await check(refused({}, filtered), OpenAI.BadRequestError, 'content_filter');
});

testBoth('another region answers', async (makeClient, ask) => {
  const client = makeClient();
  const request = () => client.chat.completions.create({ ...ask, stream: true }).withResponse();
  const first = await request();
  assert.equal(await textOf(first.data), WHOLE_ANSWER);
  const bad = first.response.headers.get('x-firstlight-backend');
  await withFault({ status_5xx: { status: 500 } }, [bad], async () => {
    const { data, response } = await request();
    assert.equal(await textOf(data), WHOLE_ANSWER);
    assert.equal(response.headers.get('x-firstlight-attempts'), '2');
    assert.notEqual(response.headers.get('x-firstlight-backend'), bad);
  });
});

testBoth('every region is rate limited', async (makeClient, ask) => {
  await withFault({ status_429: { retry_after: { seconds: 5 } } }, null, () =>
    assert.rejects(makeClient().chat.completions.create(ask), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError, error.constructor.name);
      const seconds = Number(error.headers.get('retry-after'));
      assert.ok(seconds >= 1 && seconds <= 7, `${seconds}`);
      return true;
    }),
  );
});

testBoth('a truncated stream throws', async (makeClient, ask) => {
  await withFault({ truncate: { after_tokens: 3 } }, null, async () => {
    const stream = await makeClient().chat.completions.create({ ...ask, stream: true });
    let text = '';
    const reading = async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    };
    await assert.rejects(reading, (error) => {
      assert.ok(error instanceof OpenAI.APIError, error.constructor.name);
      assert.equal(error.code, 'upstream_abort');
      return true;
    });
    assert.equal(text, 'w0 w1 w2 ');
  });
});

testBoth('a stream that is left early is cancelled upstream', async (makeClient, ask) => {
  const names = (await control('GET', '/backends')).map((backend) => backend.name);
  const behave = async (behaviour) => {
    for (const name of names) await control('PUT', `/backends/${name}/behaviour`, behaviour);
  };
  // A quarter of an hour of tokens: it cannot end by itself while the test waits.
  await behave({ tokens: 100_000, gap_ms: 10 });
  try {
    const stream = await makeClient().chat.completions.create({ ...ask, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    await waitUntil('the cancellation', async () => (await count('cancelled_by_client')) === 1);
  } finally {
    await behave({ tokens: 12, gap_ms: 2 });
  }
});

testBoth('a request aborted before its first token is cancelled upstream', async (makeClient, ask) => {
  await withFault('freeze_after_filter', null, async () => {
    const abort = new AbortController();
    const request = makeClient().chat.completions.create({ ...ask, stream: true }, { signal: abort.signal });
    await waitUntil('the request upstream', async () => (await count('in_flight')) === 1);
    abort.abort();
    await assert.rejects(request, OpenAI.APIUserAbortError);
    await waitUntil('the cancellation', async () => (await count('cancelled_by_client')) === 1);
  });
});

// Every form, and the mock itself: what passes direct must pass through Firstlight.
const WIDE_FORMS = {
  ...FORMS,
  plain: (options) => new OpenAI({ baseURL: `${FIRSTLIGHT_URL}/v1`, ...OPTIONS, ...options }),
  direct: (options) =>
    new OpenAI({ ...OPTIONS, baseURL: `${MOCK_BACKEND}/openai/v1`, ...options, apiKey: MOCK_KEY }),
};

for (const [form, makeClient] of Object.entries(WIDE_FORMS)) {
  test(`a chain of responses, streamed (${form})`, async () => {
    const client = makeClient();
    let previous;
    for (let turn = 0; turn < 4; turn++) {
      const ask = { model: 'gpt-4o', input: 'Say something.', stream: true, previous_response_id: previous };
      let text = '';
      for await (const event of await client.responses.create(ask)) {
        if (event.type === 'response.output_text.delta') text += event.delta;
        if (event.type === 'response.completed') previous = event.response.id;
      }
      assert.equal(text, WHOLE_ANSWER);
    }
    assert.equal((await client.responses.retrieve(previous)).output_text, WHOLE_ANSWER);
  });

  test(`a response in the background (${form})`, async () => {
    const client = makeClient();
    const begun = await client.responses.create({ model: 'gpt-4o', input: 'Think.', background: true });
    assert.equal(begun.status, 'queued');
    assert.equal((await client.responses.retrieve(begun.id)).status, 'in_progress');
    assert.equal((await client.responses.retrieve(begun.id)).output_text, WHOLE_ANSWER);
  });

  test(`a file is uploaded, and used where it is (${form})`, async () => {
    const client = makeClient();
    for (let turn = 0; turn < 4; turn++) {
      const content = `{"custom_id": "${turn}", "body": {"model": "gpt-4o"}}\n`;
      const file = await client.files.create({ file: await toFile(Buffer.from(content), 'b.jsonl'), purpose: 'batch' });
      assert.equal(await (await client.files.content(file.id)).text(), content);
      const endpoint = '/v1/chat/completions';
      const batch = await client.batches.create({ input_file_id: file.id, endpoint, completion_window: '24h' });
      assert.equal((await client.batches.retrieve(batch.id)).input_file_id, file.id);
    }
  });

  test(`speech to text and back (${form})`, async () => {
    const client = makeClient();
    const file = await toFile(Buffer.from([0x52, 0x49, 0, 0xff, 13, 10]), 'a.wav');
    assert.equal((await client.audio.transcriptions.create({ model: 'gpt-4o', file })).text, WHOLE_ANSWER);
    const speech = await client.audio.speech.create({ model: 'gpt-4o', voice: 'alloy', input: 'Hi.' });
    assert.equal((await speech.arrayBuffer()).byteLength, 12 * 1024);
  });
}

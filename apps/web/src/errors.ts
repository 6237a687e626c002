/** What a user can act on: one line that says what was wrong, what was expected and how to fix it. */
export class AppError extends Error {
  constructor(what: string, more: { got?: string; expected?: string; fix?: string } = {}) {
    const parts = [what];
    if (more.got !== undefined) parts.push(`got ${more.got}`);
    if (more.expected !== undefined) parts.push(`expected ${more.expected}`);
    if (more.fix !== undefined) parts.push(`fix: ${more.fix}`);
    super(parts.join("; "));
    this.name = "AppError";
  }
}

/** Return any error as one line. */
export function lineOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s+/g, " ").trim();
}

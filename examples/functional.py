"""A durable workflow as a plain function: its tasks are recorded, so a resumed workflow does not run them again.

python -m examples.functional
"""

import asyncio

from durable_graph import Command, MemorySaver, entrypoint, interrupt, task


@task
async def translate(word: str) -> str:
    """Each call's result is recorded, by the position of the call in the workflow."""
    print(f"  translate({word!r}) runs")
    return word.upper()


@entrypoint(checkpointer=MemorySaver())
async def glossary(words: list[str], *, previous: dict[str, str] | None = None) -> dict[str, str]:
    """`previous` is what the last workflow of this thread returned; None in the first.

    Where it is resumed the function runs again from its start, up to the question and past it. So its effects belong
    into tasks.
    """
    known = previous or {}
    new = [word for word in words if word not in known]
    # Side by side: a task begins when it is called, not when it is awaited.
    translations = await asyncio.gather(*(translate(word) for word in new))
    if not interrupt({"question": "Keep these?", "translations": translations}):
        return known
    return known | dict(zip(new, translations, strict=True))


async def main() -> None:
    """Two workflows on one thread, each of which asks before it ends."""
    print("The first workflow:")
    asked = await glossary.ainvoke(["tea", "cup"], thread_id="t", version="v2")
    print(f"  asks {asked.interrupts[0].value}")
    print("Resumed with an answer, it runs again, and its tasks do not:")
    print(f"  returns {await glossary.ainvoke(Command(resume=True), thread_id='t')}")

    print("The next one knows what the first one returned:")
    await glossary.ainvoke(["tea", "pot"], thread_id="t")
    print(f"  returns {await glossary.ainvoke(Command(resume=True), thread_id='t')}")


if __name__ == "__main__":
    asyncio.run(main())

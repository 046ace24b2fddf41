"""A linha que se digita: teclas entram, texto e cursor saem. Nenhum terminal aqui."""

import random

import pytest
from test_protocolo import FAMILIA, casos

from atendimento.linha import Linha, dobrar, dobrar_entre_palavras, grafemas, largura_total
from atendimento.teclas import Colagem, Tecla, Teclas

E_SOLTO = "e\u0301"  # uma letra e um acento


def digitar(linha: Linha, *teclas: str) -> str:
    """Aperta as teclas; devolve o texto com uma barra no lugar do cursor."""
    for tecla in teclas:
        linha.tecla(tecla)
    assert linha.cursor <= len(linha.texto)
    return f"{linha.texto[: linha.cursor]}|{linha.texto[linha.cursor :]}"


def nomes(*nomes_das_teclas: str) -> list[str]:
    return [Tecla(nome) for nome in nomes_das_teclas]


# --- O teclado ------------------------------------------------------------------------------------


@casos(
    "bytes_do_terminal, teclas",
    {
        "texto": ("olá", ["olá"]),
        "controles com nome": ("\r\n\t\x7f\b", nomes("enter", "enter", "tab", "backspace", "backspace")),
        "Ctrl": ("\x01\x1a", nomes("ctrl+a", "ctrl+z")),
        "setas": ("\x1b[A\x1b[B\x1b[C\x1b[D", nomes("cima", "baixo", "direita", "esquerda")),
        "setas de aplicação": ("\x1bOA\x1bOH\x1bOF", nomes("cima", "home", "end")),
        "Home e End": ("\x1b[H\x1b[F\x1b[1~\x1b[4~\x1b[7~\x1b[8~", nomes("home", "end") * 3),
        "Delete": ("\x1b[3~", nomes("delete")),
        "Ctrl e setas": ("\x1b[1;5D\x1b[1;5C\x1b[1;3D", nomes("ctrl+esquerda", "ctrl+direita", "ctrl+esquerda")),
        "Alt": ("\x1bb\x1bf", nomes("alt+b", "alt+f")),
        "desconhecidas": ("\x1b[15~\x1b[99;9;9z\x1b[?1u", []),
        "Esc e depois seta": ("\x1b\x1b[D", nomes("esquerda")),
        "sequência que não acabou": ("\x1b\r\x1b[\x03\x1b[1;é", [*nomes("enter", "ctrl+c"), "é"]),
        "colagem": ("\x1b[200~a\r\x1b[Ab\x1b[201~c", [Colagem("a\r\x1b[Ab"), "c"]),
        "colagem vazia": ("\x1b[200~\x1b[201~x", ["x"]),
    },
)
def test_teclas(bytes_do_terminal: str, teclas: list[str]) -> None:
    """Cada sequência é uma tecla, venha inteira ou um caractere por vez."""
    de_uma_vez = Teclas().alimentar(bytes_do_terminal)
    assert (de_uma_vez, [*map(type, de_uma_vez)]) == (teclas, [*map(type, teclas)])
    aos_poucos = Teclas()
    partidas = [tecla for caractere in bytes_do_terminal for tecla in aos_poucos.alimentar(caractere)]
    assert "".join(partidas) == "".join(teclas)
    assert [tecla for tecla in partidas if isinstance(tecla, Tecla)] == [t for t in teclas if isinstance(t, Tecla)]


def test_sequencia_que_nao_acaba() -> None:
    """Se o resto não vem no prazo era a tecla Esc, que nada faz; a colagem, porém, sempre acaba."""
    agora = 0.0
    teclas = Teclas(relogio=lambda: agora)
    assert (teclas.alimentar("\x1b["), teclas.espera) == ([], Teclas.PRAZO)
    assert (teclas.alimentar(""), teclas.alimentar("D")) == ([], nomes("esquerda"))  # um SIGWINCH acordou quem lia
    assert (teclas.alimentar("\x1b"), teclas.espera) == ([], Teclas.PRAZO)
    agora = Teclas.PRAZO
    assert (teclas.alimentar(""), teclas.espera, teclas.alimentar("b")) == ([], None, ["b"])
    assert (teclas.alimentar("\x1b[200~a"), teclas.espera) == ([], None)
    agora = 1000.0
    assert (teclas.alimentar(""), teclas.alimentar("b\x1b[201~")) == ([], [Colagem("ab")])


# --- O que se vê ----------------------------------------------------------------------------------


@casos(
    "texto, partes, colunas",
    {
        "ascii": ("abc", ["a", "b", "c"], 3),
        "acentos": ("ação", ["a", "ç", "ã", "o"], 4),
        "acento solto": (E_SOLTO + "x", [E_SOLTO, "x"], 2),
        "ZWJ": (FAMILIA + "x", [FAMILIA, "x"], 7),
        "tom de pele": ("👍🏻👍🏿!", ["👍🏻", "👍🏿", "!"], 9),
        "bandeiras": ("🇦🇿🇿🇦", ["🇦🇿", "🇿🇦"], 4),
        "ideogramas": ("漢字", ["漢", "字"], 4),
        "variação": ("❤\ufe0f", ["❤\ufe0f"], 2),
        "só acento": ("\u0301a", ["\u0301", "a"], 1),
    },
)
def test_grafemas(texto: str, partes: list[str], colunas: int) -> None:
    """O que parece um caractere é um só, e ocupa no máximo estas colunas."""
    assert (grafemas(texto), largura_total(texto)) == (partes, colunas)


def test_dobrar() -> None:
    """Nenhuma linha passa da borda, a continuação é recuada, e nada se perde."""
    sorte = random.Random(7)
    for colunas in (20, 40, 80, 200):
        for _ in range(20):
            texto = "".join(sorte.choices(["a", " ", "ç", "漢", "😀", FAMILIA, E_SOLTO], k=sorte.randrange(1, 300)))
            primeira, *outras = dobrar(texto, colunas, recuo="  ")
            assert all(largura_total(linha) <= colunas for linha in (primeira, *outras))
            assert all(linha.startswith("  ") for linha in outras)
            assert primeira + "".join(linha[2:] for linha in outras) == texto


def test_a_linha_se_enche() -> None:
    """Só se quebra o que não cabe: o que enche a linha fica nela, e a continuação também se enche."""
    assert dobrar("abcdefghi", 4, " ") == ["abcd", " efg", " hi"]
    assert [dobrar(texto, 4) for texto in ("abcd", "açcd", "abcde")] == [["abcd"], ["açcd"], ["abcd", "e"]]
    assert dobrar_entre_palavras("um dois", 7, " ") == ["um dois"]
    assert dobrar_entre_palavras("um !dois", 6, " ") == ["um", " !dois"]
    # A que não cabe em linha nenhuma começa na de antes, se ali couberem duas letras dela.
    assert dobrar_entre_palavras("abcde fghijklmno", 8, " ") == ["abcde fg", " hijklmn", " o"]
    assert dobrar_entre_palavras("abcdef ghijklmnop", 8, " ") == ["abcdef", " ghijklm", " nop"]


def test_dobrar_entre_palavras() -> None:
    """Só se parte a palavra maior que uma linha, e do texto só somem os espaços em que se quebrou."""
    sorte = random.Random(8)
    for colunas in (20, 40, 80):
        for _ in range(20):
            palavras = ["".join(sorte.choices("aç漢", k=sorte.choice([1, 5, 12, 12, 100]))) for _ in range(20)]
            linhas = dobrar_entre_palavras(" ".join(palavras), colunas, "  ")
            assert all(largura_total(linha) <= colunas for linha in linhas)
            assert all(linha.startswith("  ") and linha[2:] == linha.strip() for linha in linhas[1:])
            assert "".join(linhas).replace(" ", "") == "".join(palavras)
            vistas = " ".join(linhas).split()
            assert all(palavra in vistas for palavra in palavras if largura_total(palavra) <= colunas - 2)
    assert dobrar_entre_palavras("  recuado  no  meio ", 80, "  ") == ["  recuado  no  meio ".rstrip()]


# --- As teclas na linha ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("digitado", "teclas", "resultado"),
    [
        ("abc", ["esquerda", "esquerda"], "a|bc"),
        ("abc", ["ctrl+b", "ctrl+b", "ctrl+f"], "ab|c"),
        ("abc", ["home"], "|abc"),
        ("abc", ["ctrl+a", "end"], "abc|"),
        ("abc", ["ctrl+a", "ctrl+e"], "abc|"),
        ("abc", ["esquerda"] * 9 + ["direita"] * 2, "ab|c"),
        ("abc", ["backspace"], "ab|"),
        ("abc", ["home", "backspace"], "|abc"),
        ("abc", ["home", "delete"], "|bc"),
        ("abc", ["home", "ctrl+d"], "|bc"),
        ("abc", ["delete"], "abc|"),
        ("um dois", ["ctrl+w"], "um |"),
        ("um dois  ", ["ctrl+w"], "um |"),
        ("um", ["home", "ctrl+w"], "|um"),
        ("um dois", ["alt+b"], "um |dois"),
        ("um dois", ["ctrl+esquerda", "ctrl+esquerda"], "|um dois"),
        ("um dois", ["home", "alt+f"], "um| dois"),
        ("um dois", ["home", "ctrl+direita", "ctrl+direita"], "um dois|"),
        ("um dois", ["alt+b", "ctrl+k"], "um |"),
        ("um dois", ["alt+b", "ctrl+u"], "|dois"),
        ("um dois", ["alt+b", "ctrl+u", "end", "ctrl+y"], "doisum |"),
        ("um dois", ["ctrl+w", "ctrl+k", "ctrl+y"], "um dois|"),
        (FAMILIA + E_SOLTO, ["backspace"], FAMILIA + "|"),
        (FAMILIA + E_SOLTO, ["esquerda", "esquerda"], "|" + FAMILIA + E_SOLTO),
        (FAMILIA + "x", ["home", "delete"], "|x"),
        ("abc", ["cima", "baixo", "cima"], "abc|"),
        ("abc", ["f5", "ctrl+g", "ctrl+q", "alt+x"], "abc|"),
    ],
)
def test_teclas_na_linha(digitado: str, teclas: list[str], resultado: str) -> None:
    """Cada tecla faz o que faz em todo lugar."""
    assert digitar(Linha(), digitado, *nomes(*teclas)) == resultado


def test_controles_nao_entram() -> None:
    """Do que se digita ou se cola só fica o que se vê; TAB vira espaço, e a quebra de linha colada continua quebra."""
    linha = Linha()
    assert digitar(linha, "a\u202eb\x9b", Colagem("c\td\x00\r\ne\rf\x1b[A\n\n")) == "abc d\ne\nf[A|"


def test_texto_demais_nao_entra() -> None:
    """O que não cabe é recusado inteiro, e o que estava escrito fica."""
    linha = Linha()
    assert digitar(linha) == "|" and linha.inserir("abc")
    assert not linha.inserir("x" * (Linha.MAXIMO - 2))
    assert digitar(linha) == "abc|" and linha.inserir("x" * (Linha.MAXIMO - 3))


def test_historico() -> None:
    """As setas percorrem o que foi enviado, e a linha que se digitava está no fim."""
    linha = Linha()
    for enviada in ("um", "   ", "dois"):
        linha.inserir(enviada)
        linha.levar()
    cima, baixo = nomes("cima", "baixo")
    assert digitar(linha, "três", cima) == "dois|"
    assert digitar(linha, cima) == "um|"
    assert digitar(linha, cima) == "um|"
    assert digitar(linha, baixo) == "dois|"
    assert digitar(linha, baixo) == "três|"
    assert digitar(linha, baixo) == "três|"
    linha.levar()
    linha.esquecer()
    assert digitar(linha, "quatro", cima) == "quatro|"


def test_completar() -> None:
    """TAB completa até onde as opções são iguais, sem contar maiúsculas."""
    opcoes = ["/fila", "/transferir Suporte", "/transferir Supervisão", "/transferir Vendas"]
    tab = Tecla("tab")
    for digitado, completo in [
        ("/F", "/fila|"),
        ("/FILA", "/FILA|"),
        ("/t", "/transferir |"),
        ("/transferir s", "/transferir Sup|"),
        ("/transferir supo", "/transferir Suporte|"),
        ("/x", "/x|"),
        ("", "|"),
        ("oi", "oi|"),
    ]:
        assert digitar(Linha(opcoes), digitado, tab) == completo


def test_explorar_a_linha() -> None:
    """Vinte mil teclas ao acaso, comparadas com uma lista de caracteres e um cursor."""
    sorte = random.Random(1984)
    linha, lista, cursor = Linha(), [], 0
    letras = ["a", "b", " ", "ç", "漢", "😀", FAMILIA, "👍🏽"]
    for _ in range(20_000):
        tecla = sorte.choice([*letras, "esquerda", "direita", "home", "end", "backspace", "delete", "ctrl+u", "ctrl+k"])
        if tecla in letras:
            linha.tecla(tecla)
            lista.insert(cursor, tecla)
            cursor += 1
        else:
            linha.tecla(Tecla(tecla))
            match tecla:
                case "esquerda":
                    cursor = max(0, cursor - 1)
                case "direita":
                    cursor = min(len(lista), cursor + 1)
                case "home":
                    cursor = 0
                case "end":
                    cursor = len(lista)
                case "backspace" if cursor:
                    cursor -= 1
                    del lista[cursor]
                case "delete":
                    del lista[cursor : cursor + 1]
                case "ctrl+u":
                    del lista[:cursor]
                    cursor = 0
                case "ctrl+k":
                    del lista[cursor:]
        assert (linha.texto, linha.texto[: linha.cursor]) == ("".join(lista), "".join(lista[:cursor])), tecla
